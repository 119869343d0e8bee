"""The embedded judge: it checks each response against the criteria of the instruction's rubric.

It is not a language model, and it checks only what the rubric's author wrote down; docs/lab/audits.md measures its
agreement with people. Score = 1 + 9 x (weighted share of the criteria met) x penalties, rounded to halves.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from math import prod
from typing import NamedTuple

import numpy as np

from arena_learning.core import TEXT_VERSION, sentences, words
from arena_learning.judge.base import Presentation, Verdict
from arena_learning.judge.penalties import Penalty, find_penalties
from arena_learning.judge.point_scores import Answer, PointScores
from arena_learning.pool import Embedder, shared_embedder
from arena_learning.schema import (
    Criterion,
    CriterionResult,
    Instruction,
    Response,
    check_criterion,
    parse_criterion,
)

VERSION = "1"

# A semantic criterion is met to a degree that rises linearly between these two cosines, measured on the pool:
# unrelated sentences lie below the first, paraphrases above the second.
_COSINE_NONE, _COSINE_FULL = 0.30, 0.72


class Score(NamedTuple):
    """A response's score from 1 to 10 in halves, and the rationale, one line a criterion."""

    value: float
    rationale: str


class RubricJudge:
    """Scores each response by its instruction's rubric; the order of a presentation has no effect.

    Args:
        points: criteria to use: ``all``, or ``content`` to leave out length, format and truncation.
        embedder: embeds semantic criteria; by default the one that the process shares.
        cosines: similarities at which a semantic criterion starts to be met and is fully met.
    """

    batch_size = 256  # games: enough windows to batch those of like length
    pointwise = True

    def __init__(
        self,
        points: str = "all",
        embedder: Embedder | None = None,
        cosines: tuple[float, float] = (_COSINE_NONE, _COSINE_FULL),
    ) -> None:
        self._content_only = points == "content"
        self._none, self._full = cosines
        self._embedder = embedder or shared_embedder()
        self._scores = PointScores[Score]()
        self.label = f"rubric-{points} v{VERSION}"
        if cosines != (_COSINE_NONE, _COSINE_FULL):
            self.label += f" cosines {self._none:g}-{self._full:g}"
        self.fingerprint = {
            "judge": self.label,
            "embeddings": self._embedder.version,
            "text": TEXT_VERSION,
        }

    def score(self, presentations: Sequence[Presentation]) -> list[Verdict]:
        """Score each presentation, each distinct answer once; an instruction without a rubric is unscored."""
        unscored = [self._unscored(p.instruction) for p in presentations]
        answers = [
            (p.instruction, response)
            for p, reason in zip(presentations, unscored, strict=True)
            if not reason
            for response in (p.first, p.second)
        ]
        found = iter(self._scores.of(answers, self._score_all))
        return [
            Verdict(None, None, "", unscored=reason) if reason else _verdict(next(found), next(found))
            for reason in unscored
        ]

    def close(self) -> None:
        """Nothing to free: the process shares the embedder."""

    def score_response(self, instruction: Instruction, response: Response) -> Score:
        """Score one response.

        Args:
            instruction: must have a rubric.
            response: any text; it is only compared, never interpreted.
        """
        text = response.text
        criteria = _criteria(instruction)
        checks = [
            self._semantic(p, text) if p.kind == "semantic" else check_criterion(p, text) for p in criteria
        ]
        positive = [
            (p, c) for p, c in zip(criteria, checks, strict=True) if p.is_content and p.kind != "avoids"
        ]
        substance = _share(positive) if positive else float(bool(words(text)))
        earned = []
        for criterion, seen in zip(criteria, checks, strict=True):
            if self._content_only and not criterion.is_content:
                continue
            earned.append((criterion, CriterionResult(seen.met * _credit(criterion, substance), seen.seen)))
        penalties = find_penalties(instruction, response, criteria)
        if response.finish_reason == "length" and not self._content_only:
            penalties.append(Penalty(0.9, "cut off"))
        value = 1 + 9 * _share(earned) * prod(flaw.factor for flaw in penalties)
        lines = [f"[{c.met:.2f} x {p.weight:g}] {p.describe()}: {c.seen}" for p, c in earned]
        return Score(_halves(value), "\n".join([*lines, *(flaw.what for flaw in penalties)]))

    def _unscored(self, instruction: Instruction) -> str:
        """Return why answers to ``instruction`` cannot be scored, or an empty string."""
        if not instruction.rubric:
            return "the instruction has no rubric"
        if self._content_only and not any(p.is_content for p in _criteria(instruction)):
            return "the rubric has no content point"
        return ""

    def _score_all(self, answers: Sequence[Answer]) -> list[Score]:
        self._embed_ahead(answers)
        return [self.score_response(*answer) for answer in answers]

    def _semantic(self, criterion: Criterion, text: str) -> CriterionResult:
        windows = _windows(text)
        if not windows:
            return CriterionResult(0.0, "nothing said")
        vectors = self._embedder.embed([criterion.text, *windows])
        cosine = float(np.max(vectors[1:] @ vectors[0]))
        met = (cosine - self._none) / (self._full - self._none)
        return CriterionResult(round(min(1.0, max(0.0, met)), 2), f"cosine {cosine:.2f}")

    def _embed_ahead(self, answers: Sequence[Answer]) -> None:
        """Embed all texts of a batch in one call, which is several times faster."""
        texts = []
        for instruction, response in answers:
            wanted = [p.text for p in _criteria(instruction) if p.kind == "semantic"]
            if wanted:
                texts += [*wanted, *_windows(response.text)]
        self._embedder.embed(texts)


def _verdict(one: Score, two: Score) -> Verdict:
    rationale = f"First: {one.value:g}\n{one.rationale}\nSecond: {two.value:g}\n{two.rationale}"
    return Verdict(one.value, two.value, rationale)


def _criteria(instruction: Instruction) -> list[Criterion]:
    return [parse_criterion(raw, f"instruction {instruction.id}") for raw in instruction.rubric]


@lru_cache(maxsize=4096)
def _windows(text: str) -> tuple[str, ...]:
    """Return the sentences, the pairs of neighbouring sentences and the whole text; at most 80 windows."""
    parts = sentences(text)[:40]
    pairs = [f"{a} {b}" for a, b in pairwise(parts)]
    whole = [text] if len(parts) > 2 else []
    return tuple(dict.fromkeys([*parts, *pairs, *whole]))


def _credit(criterion: Criterion, substance: float) -> float:
    """Return how much of a criterion counts: form counts only as far as the content criteria are met."""
    if criterion.kind == "avoids":
        return substance
    return 1.0 if criterion.is_content else min(1.0, 2 * substance)


def _share(pairs: Sequence[tuple[Criterion, CriterionResult]]) -> float:
    total = sum(p.weight for p, _ in pairs)
    return sum(p.weight * c.met for p, c in pairs) / total if total else 0.0


def _halves(value: float) -> float:
    return min(10.0, max(1.0, round(2 * value) / 2))
