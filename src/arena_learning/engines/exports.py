"""The memory of exports: each model is written once for each type, whoever asks first."""

from __future__ import annotations

from pathlib import Path

from arena_learning.engines.gguf_export import EXPORT_VERSION, GgufType, export_gguf
from arena_learning.engines.weights import file_digest, weights_digest


def exported(folder: Path, template: Path | None, exports: Path, dtype: GgufType) -> Path:
    """Return the GGUF export of the model in ``folder``, made now if it is not there.

    Its name tells the content of the model and of the template, so it can never be out of date. Two processes that
    want the same export wait for each other.
    """
    from filelock import FileLock

    metadata = file_digest(template)[:8] if template else "made"
    path = exports / f"{weights_digest(folder)[:24]}-{metadata}-{dtype}-v{EXPORT_VERSION}.gguf"
    if path.is_file():
        return path
    exports.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        return path if path.is_file() else export_gguf(folder, template, path, dtype)
