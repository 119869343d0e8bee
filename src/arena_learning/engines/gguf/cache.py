"""Exports by hand, and the memory of the engine's own: each model is written once for each type.

Before the first export of a configuration the whole of it is compared with the model (`gguf_compare`), and a note of
that is kept beside the exports; later ones, a round's trained weights say, are checked by shapes and samples alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, fields
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from arena_learning.core import Paths, canonical, find_project, read_json, write_json
from arena_learning.engines.gguf.config import Computation, read_computation, significant
from arena_learning.engines.gguf.export import EXPORT_VERSION, GgufType, export_gguf
from arena_learning.engines.weights import (
    SOURCE_FILE,
    check_folder,
    file_digest,
    template_for,
    weights_digest,
)
from arena_learning.params import load_params

_compared: dict[
    str, dict[str, Any]
] = {}  # of this process, so that a sweep's passing folders are not compared anew
# Of tokenizer_config.json what decides how text is cut; the rest is about padding, files and classes.
_TOKENS = ("added_tokens_decoder", "bos_token", "chat_template", "eos_token", "unk_token")
_SLOW = ("tokenizer.model", "spiece.model", "vocab.json", "merges.txt", "vocab.txt", "added_tokens.json")


def cached_export(folder: Path, template: Path | None, exports: Path, dtype: GgufType) -> Path:
    """Return the GGUF export of the model in ``folder``, made now if it is not there.

    Its name tells the content of the model and of the template, so it can never be out of date. Two processes
    that want the same export wait for each other. An export without a note was made before there were comparisons,
    and is made again.

    Raises:
        ArenaError: the model cannot be exported, or OpenVINO computes from its export something else.
    """
    stem = f"{weights_digest(folder)[:24]}-{_metadata(template)[:8]}-{dtype}-v{EXPORT_VERSION}"
    path, note = exports / f"{stem}.gguf", exports / f"{stem}.checked"
    if path.is_file() and note.is_file():
        return path
    with _locked(exports / f"{stem}.lock"):
        if not (path.is_file() and note.is_file()):
            compared = compared_once(folder, template, exports)
            export_gguf(folder, template, path, dtype, computation=Computation(**compared["computation"]))
            write_json(note, {"compared": compared["key"]})
    return path


def compared_once(folder: Path, template: Path | None, exports: Path | None) -> dict[str, Any]:
    """Return the note that exports of the configuration in ``folder`` compute what the model does.

    The comparison is made if neither the notes in ``exports`` nor this process know of one.

    Raises:
        ArenaError: the model cannot be exported, or OpenVINO computes from its export something else.
    """
    from arena_learning.engines.gguf.compare import compare

    check_folder(folder)
    key = _configuration(folder, template)
    note = exports / f"compared-{key}.json" if exports else None
    with _locked(note.with_suffix(".lock")) if note else nullcontext():
        if note and note.is_file():
            _compared[key] = read_json(note)
        if key not in _compared:
            computation = read_computation(folder)
            agreement = compare(folder, template, computation, exports)
            _compared[key] = {"key": key, "computation": asdict(computation), **agreement._asdict()}
        if note and not note.is_file():
            write_json(note, _compared[key])
    return _compared[key]


def export_folder(folder: Path, out: Path, dtype: GgufType, template: str = "") -> bool:
    """Write the model in ``folder`` to ``out``, compared with the model where OpenVINO GenAI is installed.

    Args:
        folder: a model's folder; a project's own models take the template that params.yaml names.
        out: the file to write.
        dtype: type of the matrices.
        template: the source of the metadata; empty: what the folder or its project names.

    Returns:
        Whether such an export was compared with the model.

    Raises:
        ArenaError: the template cannot be found, or the model cannot be exported.
    """
    root = _project_of(folder)
    source = template or ("" if root is None or (folder / SOURCE_FILE).is_file() else _source(root))
    found = template_for(folder, source)
    compared = find_spec("openvino_genai") is not None
    if compared:
        compared_once(folder, found, Paths(root).exports if root else None)
    export_gguf(folder, found, out, dtype)
    return compared


def _metadata(template: Path | None) -> str:
    return file_digest(template) if template else "made"


def _configuration(folder: Path, template: Path | None) -> str:
    """Return a digest of all that an export depends on besides the weights, and of what reads it."""
    parts: list[object] = [EXPORT_VERSION, metadata.version("openvino-genai"), _metadata(template)]
    parts += [[field.name for field in fields(Computation)], significant(read_json(folder / "config.json"))]
    fast, about = folder / "tokenizer.json", folder / "tokenizer_config.json"
    if fast.is_file():
        state = read_json(fast)
        # Training may leave these two behind; they say how batches are made.
        parts.append({key: value for key, value in state.items() if key not in ("truncation", "padding")})
    if about.is_file():
        parts.append({key: value for key, value in read_json(about).items() if key in _TOKENS})
    others = [path for name in _SLOW if (path := folder / name).is_file() and not fast.is_file()]
    parts += [[path.name, file_digest(path)] for path in (*others, *sorted(folder.rglob("*.jinja")))]
    return hashlib.sha256(canonical(parts).encode()).hexdigest()[:24]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path):
        yield


def _project_of(folder: Path) -> Path | None:
    """Return the root of the project that ``folder`` is a model of."""
    root = folder.resolve().parent.parent
    return root if folder.resolve().parent.name == "models" and (root / "params.yaml").is_file() else None


def _source(root: Path) -> str:
    return load_params(find_project(root).params).weights.source
