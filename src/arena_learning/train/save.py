"""Write a trained model that is served like its start: fp32 safetensors, with the start's tokenizer and template."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from arena_learning.engines import NAMED_TEMPLATES, SETTINGS_FILE
from arena_learning.train.load import Start

if TYPE_CHECKING:
    from transformers import PreTrainedModel
from arena_learning.core import copy_into_place

# All files beside the weights and their configuration are copied unchanged, so pad, eos and chat template stay those
# of the start: the pad token of the training is never saved.
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
    """Save a trained model (without adapters) with the start's other files."""
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
    """Copy a model's folder to ``out``, whole or not at all, without the files that trainers leave there."""
    copy_into_place(init, out, ("reward_model", "README.md", "training_args.bin"))
