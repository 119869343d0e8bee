"""Models and tokenizers for training: fp32, safetensors only, quiet."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from arena_learning.errors import ArenaError
from arena_learning.train.template import ChatFormat, check_template

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Start(NamedTuple):
    """What a training starts from: the tokenizer as set for training, and the chat format."""

    folder: Path
    tokenizer: PreTrainedTokenizerBase
    chat: ChatFormat
    trust_remote_code: bool


def quiet_libraries() -> None:
    """Switch off the libraries' own progress bars and chatter: a stage has one progress line."""
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TQDM_DISABLE", "1")  # the one switch of TRL's bar over reference log-probabilities
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()


def load_start(folder: Path, trust_remote_code: bool) -> Start:
    """Load the tokenizer of the model in ``folder`` and check its template. Raises as `check_template`."""
    from transformers import AutoTokenizer

    if not list(folder.glob("*.safetensors")):
        raise ArenaError(
            "no safetensors weights here (pickled weights are refused)",
            where=str(folder),
            mend="convert the model: load it once and save it with save_pretrained",
        )
    tokenizer = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=trust_remote_code
    )
    chat = check_template(tokenizer, eos_ids(folder), str(folder))
    return Start(folder, tokenizer, chat, trust_remote_code)


def eos_ids(folder: Path) -> set[int]:
    """Return the ids that end generation, from generation_config.json, or else config.json."""
    from arena_learning.rows import read_json

    for name in ("generation_config.json", "config.json"):
        path = folder / name
        value = read_json(path).get("eos_token_id") if path.is_file() else None
        if value is not None:
            return {value} if isinstance(value, int) else set(value)
    raise ArenaError(
        "no eos_token_id: generation would never stop",
        where=str(folder),
        mend="name it in generation_config.json",
    )


def load_policy(start: Start) -> PreTrainedModel:
    """Load the causal language model in fp32, its pad token set for training."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        start.folder,
        dtype=torch.float32,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=start.trust_remote_code,
    )
    return _for_training(model, start)


def load_scorer(start: Start, folder: Path, seed: int) -> PreTrainedModel:
    """Load the model in ``folder`` with one number as its output: a score head, new if it has none."""
    import torch
    from transformers import AutoModelForSequenceClassification, set_seed
    from trl.trainer.reward_trainer import suppress_seqcls_warning

    set_seed(seed)  # a new head is drawn at random
    with suppress_seqcls_warning():
        model = AutoModelForSequenceClassification.from_pretrained(
            folder,
            num_labels=1,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=start.trust_remote_code,
        )
    return _for_training(model, start)


def _for_training(model: PreTrainedModel, start: Start) -> PreTrainedModel:
    model.config.pad_token_id = start.chat.pad
    model.config.use_cache = False
    if getattr(model, "generation_config", None) is not None:
        model.generation_config.pad_token_id = start.chat.pad
        model.generation_config.eos_token_id = start.chat.end_of_turn
    return model
