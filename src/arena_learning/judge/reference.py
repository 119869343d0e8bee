"""A judge that selects no data: it scores an answer's similarity to the reference answer by sentence embedding."""

from __future__ import annotations

from collections.abc import Sequence

from arena_learning.judge.base import Presentation, Verdict
from arena_learning.judge.point_scores import Answer, PointScores
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
        self._scores = PointScores[float]()
        self.label = f"reference v{VERSION}"
        self.fingerprint = {"judge": self.label, "embeddings": self._embedder.version}

    def score(self, presentations: Sequence[Presentation]) -> list[Verdict]:
        """Score each presentation, each distinct answer once; an instruction without a reference is unscored."""
        scored = [p for p in presentations if p.instruction.reference]
        answers = [(p.instruction, response) for p in scored for response in (p.first, p.second)]
        found = iter(self._scores.of(answers, self._score_all))
        return [
            _verdict(next(found), next(found))
            if p.instruction.reference
            else Verdict(None, None, "", unscored="the instruction has no reference")
            for p in presentations
        ]

    def close(self) -> None:
        """Nothing to free: the process shares the embedder."""

    def _score_all(self, answers: Sequence[Answer]) -> list[float]:
        pairs = [(instruction.reference or "", response.text) for instruction, response in answers]
        # All in one call, which is several times faster.
        self._embedder.embed(sorted({text for pair in pairs if pair[1].strip() for text in pair}))
        return [self._score(*pair) for pair in pairs]

    def _score(self, reference: str, text: str) -> float:
        if not text.strip():
            return 1.0
        vectors = self._embedder.embed([reference, text])
        cosine = float(vectors[0] @ vectors[1])
        return round(1 + 9 * min(1.0, max(0.0, (cosine - _FLOOR) / (1 - _FLOOR))), 1)


def _verdict(one: float, two: float) -> Verdict:
    return Verdict(one, two, f"Similarity to the reference: first {one:g}, second {two:g}")
