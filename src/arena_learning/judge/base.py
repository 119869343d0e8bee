"""The interface that every judge implements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple, Protocol, runtime_checkable

from arena_learning.schema import Instruction, JuryCount, Response


class Presentation(NamedTuple):
    """Two responses to one instruction, in the order in which the judge sees them."""

    instruction: Instruction
    first: Response
    second: Response


class Verdict(NamedTuple):
    """A judge's result for a presentation: two scores from 1 to 10 and the rationale, or the reason in ``unscored``.

    ``attempts`` counts how often the judge was asked; ``tokens`` and ``seconds`` are the cost of all attempts.
    ``prompt_tokens``: how many of ``tokens`` were prompts'; None if that is unknown.
    ``replies`` holds (text, finish reason) of each attempt of a model, so that a later parser can read them again.
    ``refused``: the judge's engine gave no reply at all; ``passing``: the refusal may be temporary.
    ``jury``: how the members of a jury voted; such a verdict is computed from theirs and not stored.
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
    jury: JuryCount | None = None
    prompt_tokens: int | None = None


class Judge(Protocol):
    """Scores presentations.

    ``fingerprint`` holds all that can change a verdict besides the presentation; it is part of the store's key.
    ``label`` names judge and version in each game. ``batch_size`` is the number of presentations to pass to one call.

    Example:
        >>> class FirstWins:
        ...     fingerprint, label, batch_size = {"judge": "first wins v1"}, "first wins v1", 64
        ...     def score(self, presentations):
        ...         return [Verdict(8.0, 5.0, "it came first") for _ in presentations]
        ...     def close(self):
        ...         pass
    """

    fingerprint: dict[str, str]
    label: str
    batch_size: int

    def score(self, presentations: Sequence[Presentation]) -> list[Verdict]:
        """Return a verdict for each presentation, in order; what cannot be scored is unscored, never an exception."""
        ...

    def close(self) -> None:
        """Free the memory."""
        ...


Scored = tuple[int, Verdict]


@runtime_checkable
class StreamingJudge(Protocol):
    """An optional extension of `Judge`: verdicts as soon as they are ready, in any order, without batches."""

    def stream(self, presentations: Sequence[Presentation]) -> Iterator[list[Scored]]:
        """Yield groups of (index, verdict), each index once; a presentation is read only when its turn comes."""
        ...


@runtime_checkable
class VersionedJudge(Protocol):
    """An optional extension of `Judge`: marks the presentations whose prompt a new version of the code has changed."""

    def variant(self, presentation: Presentation) -> str:
        """Return what tells the changed prompt's store key from the old one; empty where the prompt is unchanged."""
        ...


@runtime_checkable
class RereadingJudge(Protocol):
    """An optional extension of `Judge`: reads stored replies again, without asking the model.

    ``parser_version`` names the way replies are read; a stored verdict of another version is read again.
    """

    parser_version: str

    def reread(self, presentation: Presentation, replies: Sequence[tuple[str, str]]) -> Verdict:
        """Return the verdict in the replies: (text, finish reason) of each attempt, in order."""
        ...


@runtime_checkable
class CostlyJudge(Protocol):
    """An optional extension of `Judge`: says how long its requests may become, for a budget.

    A judge without it is counted at the mean of its verdicts so far: at nothing, if it asks no model.
    """

    def longest(self, presentation: Presentation) -> tuple[int, int]:
        """Return the bytes of the prompts and the tokens of the replies that a verdict may take, retries included."""
        ...


def stream_verdicts(judge: Judge, presentations: Sequence[Presentation]) -> Iterator[list[Scored]]:
    """Yield groups of (index, verdict) as `StreamingJudge` does; a judge that does not stream scores in batches."""
    if isinstance(judge, StreamingJudge):
        yield from judge.stream(presentations)
        return
    places = iter(range(len(presentations)))
    while batch := list(islice(places, judge.batch_size)):
        yield list(zip(batch, judge.score([presentations[i] for i in batch]), strict=True))


def judge_name(judge: Judge) -> str:
    """Return the judge's key in params.yaml, which `build.open_judge` notes in it; else its label."""
    return str(getattr(judge, "name", "") or judge.label)


def plays_both_orders(judge: Judge) -> bool:
    """Whether ``judge`` sees each pair in both orders; its attribute ``both_orders`` says so.

    Default: True, but False for a pointwise judge, whose scores cannot depend on the order.
    """
    return bool(getattr(judge, "both_orders", not is_pointwise(judge)))


def is_pointwise(judge: Judge) -> bool:
    """Whether an answer's score is the same whatever it is shown beside (a judge says so by ``pointwise = True``)."""
    return bool(getattr(judge, "pointwise", False))


def tie_margin(judge: Judge) -> float:
    """Return the largest difference of mean scores that is a tie: the judge's attribute ``tie_margin`` (default 0)."""
    return float(getattr(judge, "tie_margin", 0.0))


def is_remembered(judge: Judge) -> bool:
    """Whether verdicts are stored: the judge's attribute ``remembered`` (default True; False if verdicts are free)."""
    return bool(getattr(judge, "remembered", True))


def is_batch_exact(judge: Judge) -> bool:
    """Whether a verdict does not depend on its batch: the judge's attribute ``batch_exact`` (default True)."""
    return bool(getattr(judge, "batch_exact", True))
