"""The judge seam: a small protocol that every way of scoring implements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from arena_learning.rows import Instruction, Response


class Presentation(NamedTuple):
    """Two responses to one instruction, in the order in which the judge sees them."""

    instruction: Instruction
    first: Response
    second: Response


class Verdict(NamedTuple):
    """What a judge says of a presentation: two scores from 1 to 10 and why, or no scores and the reason in `unscored`.

    ``attempts`` counts how often the judge was asked, ``tokens`` and ``seconds`` what that cost.
    """

    score_first: float | None
    score_second: float | None
    rationale: str
    unscored: str | None = None
    attempts: int = 1
    tokens: int = 0
    seconds: float = 0.0


class Judge(Protocol):
    """Scores presentations.

    ``fingerprint`` holds all that could change a verdict besides the presentation; it goes into the store's key.
    ``label`` names judge and version in each game. ``batch_size`` is how many presentations to hand over at once.
    """

    fingerprint: dict[str, str]
    label: str
    batch_size: int

    def score(self, presentations: Sequence[Presentation]) -> list[Verdict]:
        """Score each presentation, in order. What cannot be scored is a verdict with a reason, never an exception."""
        ...

    def close(self) -> None:
        """Give back the memory."""
        ...
