"""A judge that selects no data: it scores an answer's similarity to the reference answer by sentence embedding."""

from __future__ import annotations

from collections.abc import Sequence

from arena_learning.judge.base import Presentation, Verdict
from arena_learning.pool import Embedder, shared_embedder

VERSION = "1"

# Cosines up to this score 1: unrelated texts stay below it.
_FLOOR = 0.1


class ReferenceJudge:
    """Score = 1 + 9 x (cosine - 0.1) / 0.9, rounded to tenths; a copy of the reference scores 10, in either order."""

    batch_size = 256
    pointwise = True

    def __init__(self, embedder: Embedder | None = None) -> None:
        self._embedder = embedder or shared_embedder()
        self.label = f"reference v{VERSION}"
        self.fingerprint = {"judge": self.label, "embeddings": self._embedder.version}

    def score(self, presentations: Sequence[Presentation]) -> list[Verdict]:
        """Score each presentation; an instruction without a reference is unscored."""
        wanted = {p.instruction.reference or "" for p in presentations}
        self._embedder.embed(
            sorted(wanted | {r.text for p in presentations for r in (p.first, p.second)} - {""})
        )
        return [self._verdict(p) for p in presentations]

    def close(self) -> None:
        """Nothing to free: the process shares the embedder."""

    def _verdict(self, presentation: Presentation) -> Verdict:
        reference = presentation.instruction.reference
        if not reference:
            return Verdict(None, None, "", unscored="the instruction has no reference")
        one, two = (self._score(reference, r.text) for r in (presentation.first, presentation.second))
        return Verdict(one, two, f"Similarity to the reference: first {one:g}, second {two:g}")

    def _score(self, reference: str, text: str) -> float:
        if not text.strip():
            return 1.0
        vectors = self._embedder.embed([reference, text])
        cosine = float(vectors[0] @ vectors[1])
        return round(1 + 9 * min(1.0, max(0.0, (cosine - _FLOOR) / (1 - _FLOOR))), 1)
