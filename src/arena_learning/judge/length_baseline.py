"""A baseline that ignores content: the longer answer wins. A real judge must beat it on labelled pairs."""

from __future__ import annotations

from collections.abc import Sequence

from arena_learning.core import TEXT_VERSION, words
from arena_learning.judge.base import Presentation, Verdict


class LengthBaselineJudge:
    """Splits eleven points in proportion to the answers' words, within 1 to 10; equal lengths get 5.5 each."""

    batch_size = 1024
    label = "longer v1"

    def __init__(self) -> None:
        self.fingerprint = {"judge": self.label, "text": TEXT_VERSION}

    def score(self, presentations: Sequence[Presentation]) -> list[Verdict]:
        """Score each presentation by length alone."""
        return [self._verdict(p) for p in presentations]

    def close(self) -> None:
        """Nothing to free."""

    def _verdict(self, presentation: Presentation) -> Verdict:
        one, two = (len(words(r.text)) for r in (presentation.first, presentation.second))
        share = one / (one + two) if one + two else 0.5
        return Verdict(1 + 9 * share, 10 - 9 * share, f"{one} words against {two}")
