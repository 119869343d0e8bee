"""The engine seam: a small protocol that every way of answering implements."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple, Protocol, runtime_checkable

from arena_learning.core import ArenaError, SplitAnswer
from arena_learning.params import Sampling
from arena_learning.schema import FinishReason, Turn

Conversation = Sequence[Turn]


class Token(NamedTuple):
    """One token of an answer, and what might have stood in its place.

    Attributes:
        text: the token; the texts of all tokens joined are the answer (the end token may follow, and a character of
            several tokens shows only when joined by the engine itself).
        top_logprobs: the likeliest tokens at this place with the natural logarithms of their probabilities, likeliest
            first: the model's own, before temperature and ``top_p``. A sampled token need not be among them.
    """

    text: str
    top_logprobs: tuple[tuple[str, float], ...]


class Completion(NamedTuple):
    """What an engine gives for one conversation: the answer, why it ended, counts, seconds.

    ``text`` is the answer alone: without the end-of-turn token, and without what the model thought before it. The
    thought is ``thought``; ``thought_tokens`` of the ``completion_tokens`` went into it. A thought that never ended
    is an empty answer. ``seconds`` is the call's wall time shared out by tokens, so that a sum over responses is the
    time spent. ``tokens`` are there only where they were asked for (`ReportsLogprobs`), thought included, and are not
    remembered.
    """

    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    tokens: tuple[Token, ...] = ()
    thought: str = ""
    thought_tokens: int = 0


class Refused(NamedTuple):
    """Why an engine gives no answer to one conversation, though it answers others.

    A prompt that does not fit, turns that a chat template does not take, a content filter, an answer that is empty
    each time: such an item becomes a row with this reason, and the stage goes on. ``passing``: it may be answered
    another time (a server that failed on it), and a rerun asks it again.
    """

    reason: str
    passing: bool = False


class Engine(Protocol):
    """Answers conversations.

    ``fingerprint`` holds all that could change an answer besides conversation and sampling (kind, version, weights
    digest, type, system prompt handling); it goes into the store's key. ``batch_size`` is how many conversations the
    caller should hand over at once. ``batch_exact`` says whether a greedy answer is the same in any batch.
    """

    fingerprint: dict[str, str]
    batch_size: int
    batch_exact: bool

    def respond(
        self, conversations: Sequence[Conversation], sampling: Sampling
    ) -> Sequence[Completion | Refused]:
        """Answer each conversation, in order; one that cannot be answered, though others can, is `Refused`.

        Raises:
            ArenaError: the engine cannot answer, for a reason that a user can fix.
        """
        ...

    def close(self) -> None:
        """Give back the memory. The engine cannot answer afterwards."""
        ...


Answered = tuple[int, Completion | Refused]


@runtime_checkable
class Streaming(Protocol):
    """What an engine may offer besides `Engine`: answers as they are finished, in any order, without batches."""

    def stream(self, conversations: Sequence[Conversation], sampling: Sampling) -> Iterator[list[Answered]]:
        """Yield groups of (place, answer); every place comes once. Each conversation is read when its turn comes.

        Raises:
            ArenaError: the engine cannot go on; all that was answered before has been yielded.
        """
        ...


@runtime_checkable
class Versioned(Protocol):
    """What an engine may offer besides `Engine`: reading on what was remembered by earlier versions of this project."""

    def variant(self, conversation: Conversation) -> str:
        """Return what the store's key says of a conversation that is asked otherwise than it once was, else nothing."""
        ...

    def said(self, text: str) -> SplitAnswer:
        """Split an answer that was remembered whole, before thoughts were told apart."""
        ...


def is_exact(engine: Engine, sampling: Sampling) -> bool:
    """Whether an answer is the same in any batch.

    A greedy one is where the engine says ``batch_exact``. A sampled one is too, unless the engine says
    ``sample_exact = False``: one that draws a batch with one seed, or whose draws hang on last bits.
    """
    sampled = sampling.temperature == 0 or bool(getattr(engine, "sample_exact", True))
    return engine.batch_exact and sampled


def older_fingerprints(of: object) -> Sequence[dict[str, str]]:
    """Return the fingerprints that an engine or judge had in earlier versions for what is the same now.

    One says so by an attribute ``older_fingerprints``; what was remembered under these is found again.
    """
    found: Sequence[dict[str, str]] = getattr(of, "older_fingerprints", ())
    return found


@runtime_checkable
class ReportsLogprobs(Protocol):
    """What an engine may offer besides `Engine`: how likely other tokens would have been.

    ``max_top_logprobs`` is the largest number of tokens that it tells at each place.
    """

    max_top_logprobs: int

    def respond_with_logprobs(
        self, conversations: Sequence[Conversation], sampling: Sampling, top_logprobs: int
    ) -> Iterator[list[Answered]]:
        """Yield answers as `Streaming.stream` does, each with its ``top_logprobs`` likeliest tokens at every place."""
        ...


def stream_answers(
    engine: Engine, conversations: Sequence[Conversation], sampling: Sampling, *, top_logprobs: int = 0
) -> Iterator[list[Answered]]:
    """Yield groups of (place, answer) as `Streaming` does; an engine that does not stream answers by batches.

    Args:
        engine: who answers.
        conversations: what is asked.
        sampling: how it is answered.
        top_logprobs: how many of the likeliest tokens each place of an answer shall tell; the engine may tell fewer.

    Raises:
        ArenaError: the engine cannot answer, or cannot tell how likely its tokens are.
    """
    if top_logprobs:
        if not isinstance(engine, ReportsLogprobs):
            raise ArenaError(
                f"the engine '{engine.fingerprint['engine']}' tells no probabilities of tokens",
                hint="use transformers, vllm, or an endpoint that gives logprobs",
            )
        yield from engine.respond_with_logprobs(
            conversations, sampling, min(top_logprobs, engine.max_top_logprobs)
        )
        return
    if isinstance(engine, Streaming):
        yield from engine.stream(conversations, sampling)
        return
    yield from by_batches(engine.batch_size, conversations, lambda batch: engine.respond(batch, sampling))


def by_batches(
    size: int,
    conversations: Sequence[Conversation],
    respond: Callable[[list[Conversation]], Sequence[Completion | Refused]],
) -> Iterator[list[Answered]]:
    """Yield groups of (place, answer), a batch at a time."""
    places = iter(range(len(conversations)))
    while batch := list(islice(places, size)):
        yield list(zip(batch, respond([conversations[i] for i in batch]), strict=True))


MAX_REFUSED = 0.05  # share of a stage's items that may be refused, unless `serving.max_refused` says another
_FEW = 5  # refused items that never stop a stage


def too_many_refused(refused: int, total: int, most: float) -> bool:
    """Return whether so many items of a stage got no answer that it should stop.

    A few never do: a single odd item must not end a run. Beyond that the share counts.

    Args:
        refused: items without an answer.
        total: items of the stage.
        most: the share that may be refused (`serving.max_refused`).
    """
    return refused > _FEW and refused > most * total
