"""Writing a model that serves as its start does: fp32 safetensors, tokenizer and template untouched."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from arena_learning.engines import NAMED_TEMPLATES, SETTINGS_FILE
from arena_learning.train.load import Start

if TYPE_CHECKING:
    from transformers import PreTrainedModel
from arena_learning.core import copy_into_place

# Everything beside the weights and their configuration is copied as it is, so that pad, eos and the chat
# template stay those of the start: training's own pad token is never saved.
COPIED = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.jinja",
    NAMED_TEMPLATES,
    SETTINGS_FILE,
    "generation_config.json",
    "*.py",
    "LICENSE*",
)


def write_model(model: PreTrainedModel, start: Start, folder: Path, *, dtype: str = "float32") -> None:
    """Save a trained model (no adapters left) with all that its start has beside the weights."""
    import torch
    from transformers import AutoConfig

    before = AutoConfig.from_pretrained(
        start.folder, local_files_only=True, trust_remote_code=start.trust_remote_code
    )
    model.config.pad_token_id = before.pad_token_id
    model.config.use_cache = before.use_cache
    model = model.to("cpu", getattr(torch, dtype))
    model.config.dtype = dtype
    model.save_pretrained(folder)
    for pattern in COPIED:
        for path in start.folder.glob(pattern):
            if path.is_dir():
                shutil.copytree(path, folder / path.name, dirs_exist_ok=True)
            else:
                shutil.copyfile(path, folder / path.name)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def copy_model(init: Path, out: Path) -> None:
    """Copy a model's folder to ``out``, whole or not at all, without what trainers leave and nobody reads."""
    copy_into_place(init, out, ("reward_model", "README.md", "training_args.bin"))
