"""Exports by hand, and the memory of the engine's own: each model is written once for each type."""

from __future__ import annotations

from pathlib import Path

from arena_learning.engines.gguf_export import EXPORT_VERSION, GgufType, export_gguf
from arena_learning.engines.weights import SOURCE_FILE, file_digest, template_for, weights_digest
from arena_learning.params import load_params
from arena_learning.paths import project


def exported(folder: Path, template: Path | None, exports: Path, dtype: GgufType) -> Path:
    """Return the GGUF export of the model in ``folder``, made now if it is not there.

    Its name tells the content of the model and of the template, so it can never be out of date. Two processes
    that want the same export wait for each other.
    """
    from filelock import FileLock

    metadata = file_digest(template)[:8] if template else "made"
    path = exports / f"{weights_digest(folder)[:24]}-{metadata}-{dtype}-v{EXPORT_VERSION}.gguf"
    if path.is_file():
        return path
    exports.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        return path if path.is_file() else export_gguf(folder, template, path, dtype)


def export_folder(folder: Path, out: Path, dtype: GgufType, template: str = "") -> Path:
    """Write the model in ``folder`` to ``out``.

    Args:
        folder: a model's folder; a project's own models take the template that params.yaml names.
        out: the file to write.
        dtype: type of the matrices.
        template: the source of the metadata; empty: what the folder or its project names.

    Raises:
        ArenaError: the template cannot be found, or the model cannot be exported.
    """
    return export_gguf(folder, template_for(folder, template or _project_source(folder)), out, dtype)


def _project_source(folder: Path) -> str:
    """Return the weights' source of the project that ``folder`` is a model of, or nothing."""
    root = folder.resolve().parent.parent
    if (
        (folder / SOURCE_FILE).is_file()
        or folder.resolve().parent.name != "models"
        or not (root / "params.yaml").is_file()
    ):
        return ""
    return load_params(project(root).params).weights.source
