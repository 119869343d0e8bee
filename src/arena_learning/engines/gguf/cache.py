"""Exports for the engine, cached by model and type, and exports for users.

Before the first export of a configuration, a whole export is compared with the model (`gguf.compare`), and the result
is saved beside the exports. Later exports, such as a round's trained weights, are checked by shapes and samples only.
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
] = {}  # results in this process, so that the temporary folders of a sweep are not compared again
# The keys of tokenizer_config.json that affect tokenization; the others concern padding, files and classes.
_TOKENS = ("added_tokens_decoder", "bos_token", "chat_template", "eos_token", "unk_token")
_SLOW = ("tokenizer.model", "spiece.model", "vocab.json", "merges.txt", "vocab.txt", "added_tokens.json")


def cached_export(folder: Path, template: Path | None, exports: Path, dtype: GgufType) -> Path:
    """Return the cached GGUF export of the model in ``folder``; make it if it is missing.

    Its name contains digests of model and template, so it is never out of date. Two processes that need the same export
    wait for each other. An export without a saved comparison is from an older version, and is made again.

    Raises:
        ArenaError: the model cannot be exported, or OpenVINO computes something else from the export.
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
    """Return the result of comparing an export of the configuration in ``folder`` with the model.

    The comparison runs only if there is no result in ``exports`` or in this process.

    Raises:
        ArenaError: the model cannot be exported, or OpenVINO computes something else from the export.
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
    """Write the model in ``folder`` to the GGUF file ``out``; compare the two if OpenVINO GenAI is installed.

    Args:
        folder: a model's folder; a project's own models use the template in params.yaml.
        out: the file to write.
        dtype: type of the matrices.
        template: source of the metadata; empty: the source given in the folder or its project.

    Returns:
        Whether an export of this configuration was compared with the model.

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
    """Return a digest of everything that an export depends on besides the weights, and of its reader's version."""
    parts: list[object] = [EXPORT_VERSION, metadata.version("openvino-genai"), _metadata(template)]
    parts += [[field.name for field in fields(Computation)], significant(read_json(folder / "config.json"))]
    fast, about = folder / "tokenizer.json", folder / "tokenizer_config.json"
    if fast.is_file():
        state = read_json(fast)
        # Training may change these two, which only concern batches.
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
    """Return the root of the project that ``folder`` belongs to as a model, or None."""
    root = folder.resolve().parent.parent
    return root if folder.resolve().parent.name == "models" and (root / "params.yaml").is_file() else None


def _source(root: Path) -> str:
    return load_params(find_project(root).params).weights.source
