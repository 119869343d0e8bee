"""Says why the model in a folder cannot be loaded: the libraries' errors name neither the file nor what to do."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, NamedTuple

from arena_learning.core import ArenaError, first_line, read_json

TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")
_LFS = b"version https://git-lfs"


class FolderFault(NamedTuple):
    """What is wrong with a model's folder, and what to do."""

    what: str
    hint: str


def find_fault(folder: Path, error: Exception) -> FolderFault:
    """Return what is wrong with ``folder``, from whose files a library has raised ``error``.

    Args:
        folder: a folder of safetensors.
        error: of `transformers` or `safetensors`.

    Example:
        >>> import tempfile
        >>> find_fault(Path(tempfile.mkdtemp()), ValueError("..."))[0]
        'the folder has no config.json'
    """
    place = shlex.quote(str(folder))
    for path in sorted(folder.glob("*.safetensors")):
        if not path.is_file():
            what = f"{path.name} is a link to a file that is not there"
            return FolderFault(what, "copy or download it again")
        with path.open("rb") as file:
            if file.read(len(_LFS)) == _LFS:
                what = f"{path.name} holds no weights but a pointer of git LFS"
                return FolderFault(what, f"fetch the weights: `git -C {place} lfs pull`")
    if not (folder / "config.json").is_file():
        return _without_config(folder)
    first = first_line(error)
    if "trust_remote_code" in str(error) or "custom code" in first:
        what = "the model comes with Python code of its own, which must run to load it"
        return FolderFault(
            what, "read that code; if you trust it, set `trust_remote_code: true` beside the model's name"
        )
    if not any((folder / name).is_file() for name in TOKENIZERS):
        return FolderFault(
            f"the folder has no tokenizer ({first})",
            "copy tokenizer.json and tokenizer_config.json of the model's repository into it",
        )
    if "safetensors" in type(error).__module__ or "header" in first:
        return FolderFault(
            f"its weights are damaged ({first})", "copy or download the *.safetensors files again"
        )
    return FolderFault(first, "")


def _without_config(folder: Path) -> FolderFault:
    adapter = folder / "adapter_config.json"
    if not adapter.is_file():
        return FolderFault(
            "the folder has no config.json",
            "copy it from the model's repository, or use a folder made by `save_pretrained`",
        )
    base = _base_of(adapter)
    return FolderFault(
        f"the folder holds an adapter (LoRA) of '{base}', not a whole model",
        "merge it into its base with peft: load both, call `merge_and_unload()`, then `save_pretrained`",
    )


def _base_of(adapter: Path) -> Any:
    try:
        return read_json(adapter).get("base_model_name_or_path") or "an unnamed model"
    except ArenaError:
        return "an unnamed model"
