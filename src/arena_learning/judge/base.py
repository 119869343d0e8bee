"""The judge seam: a small protocol that every way of scoring implements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple, Protocol, runtime_checkable

from arena_learning.schema import Instruction, Response


class Presentation(NamedTuple):
    """Two responses to one instruction, in the order in which the judge sees them."""

    instruction: Instruction
    first: Response
    second: Response


class Verdict(NamedTuple):
    """What a judge says of a presentation: two scores from 1 to 10 and why, or no scores and the reason in `unscored`.

    ``attempts`` counts how often the judge was asked, ``tokens`` and ``seconds`` what that cost. ``replies`` are what a
    model wrote at each attempt and why it ended, so that another reader can read it again. ``refused``: its engine gave
    no answer at all; ``passing``: it may give one another time.
    """

    score_first: float | None
    score_second: float | None
    rationale: str
    unscored: str | None = None
    attempts: int = 1
    tokens: int = 0
    seconds: float = 0.0
    replies: tuple[tuple[str, str], ...] = ()
    refused: bool = False
    passing: bool = False


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


Scored = tuple[int, Verdict]


@runtime_checkable
class StreamingJudge(Protocol):
    """What a judge may offer besides `Judge`: verdicts as they are finished, in any order, without batches."""

    def stream(self, presentations: Sequence[Presentation]) -> Iterator[list[Scored]]:
        """Yield groups of (place, verdict); every place comes once. A presentation is read when its turn comes."""
        ...


@runtime_checkable
class VersionedJudge(Protocol):
    """What a judge may offer besides `Judge`: saying what it is asked otherwise than it once was."""

    def variant(self, presentation: Presentation) -> str:
        """Return what the store's key says of a presentation that is asked otherwise than it once was, else nothing."""
        ...


@runtime_checkable
class RereadingJudge(Protocol):
    """What a judge may offer besides `Judge`: reading again what it was told, without asking.

    ``parser_version`` names how replies are read; a remembered verdict that was read otherwise is read again.
    """

    parser_version: str

    def reread(self, presentation: Presentation, replies: Sequence[tuple[str, str]]) -> Verdict:
        """Return the verdict in what was replied: (text, finish reason) of each attempt, in order."""
        ...


def stream_verdicts(judge: Judge, presentations: Sequence[Presentation]) -> Iterator[list[Scored]]:
    """Yield groups of (place, verdict) as `StreamingJudge` does; a judge that does not stream scores by batches."""
    if isinstance(judge, StreamingJudge):
        yield from judge.stream(presentations)
        return
    places = iter(range(len(presentations)))
    while batch := list(islice(places, judge.batch_size)):
        yield list(zip(batch, judge.score([presentations[i] for i in batch]), strict=True))


def plays_both_orders(judge: Judge) -> bool:
    """Whether a pair is presented to ``judge`` in both orders (a judge says otherwise by ``both_orders = False``)."""
    return bool(getattr(judge, "both_orders", True))


def is_pointwise(judge: Judge) -> bool:
    """Whether an answer's score is the same whatever it is shown beside (a judge says so by ``pointwise = True``)."""
    return bool(getattr(judge, "pointwise", False))


def tie_margin(judge: Judge) -> float:
    """Return the difference of mean scores up to which a battle is a tie (a judge says it by ``tie_margin``)."""
    return float(getattr(judge, "tie_margin", 0.0))


def is_remembered(judge: Judge) -> bool:
    """Whether verdicts go into the store (a judge whose verdicts cost nothing says ``remembered = False``)."""
    return bool(getattr(judge, "remembered", True))


def is_batch_exact(judge: Judge) -> bool:
    """Whether a verdict is the same in any batch (a judge whose model's is not says ``batch_exact = False``)."""
    return bool(getattr(judge, "batch_exact", True))
