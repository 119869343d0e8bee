"""The protocol that every engine implements, and optional protocols for additional features."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple, Protocol, runtime_checkable

from arena_learning.core import ArenaError, SplitAnswer
from arena_learning.params import Sampling
from arena_learning.schema import FinishReason, Turn

Conversation = Sequence[Turn]


class Token(NamedTuple):
    """One token of an answer, with the most probable tokens at its position.

    Attributes:
        text: text of the token. The joined texts are the answer, up to a final end token and except for characters
            that consist of several tokens.
        top_logprobs: the most probable tokens at this position with their log-probabilities (natural logarithm), in
            descending order, before temperature and ``top_p``. A sampled token may be missing.
    """

    text: str
    top_logprobs: tuple[tuple[str, float], ...]


class Completion(NamedTuple):
    """An engine's answer to one conversation.

    Attributes:
        text: the answer, without end-of-turn token and thought; empty if the thought never ended.
        finish_reason: ``stop`` or ``length`` (truncated).
        prompt_tokens: length of the prompt.
        completion_tokens: number of generated tokens, thought included.
        seconds: this answer's share of the call's wall time, by tokens; sums to the time spent.
        tokens: tokens of thought and answer, only if log-probabilities were requested (`ReportsLogprobs`); not stored.
        thought: the model's reasoning before the answer.
        thought_tokens: number of ``completion_tokens`` in the thought.
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
    """The reason why an engine does not answer one conversation, although it answers others.

    Examples are a prompt that is too long, turns that the chat template does not accept, a content filter, or repeated
    empty answers. The conversation becomes a row with this reason, and the stage continues. ``passing`` means that it
    may succeed later (a server error), so a rerun requests it again.
    """

    reason: str
    passing: bool = False


class Engine(Protocol):
    """Answers conversations.

    Attributes:
        fingerprint: everything besides conversation and sampling that could change an answer (kind, version, weights
            digest, type, system prompt); part of the store's key.
        batch_size: number of conversations that the caller should pass at once.
        batch_exact: whether a greedy answer is the same in any batch.

    Example::

        class Echo:
            fingerprint = {"engine": "echo", "version": "1"}
            batch_size, batch_exact = 64, True

            def respond(self, conversations, sampling):
                return [Completion(turns[-1].content, "stop", 1, 1, 0.0) for turns in conversations]

            def close(self):
                pass
    """

    fingerprint: dict[str, str]
    batch_size: int
    batch_exact: bool

    def respond(
        self, conversations: Sequence[Conversation], sampling: Sampling
    ) -> Sequence[Completion | Refused]:
        """Return an answer to each conversation, in order; `Refused` for one that cannot be answered.

        Raises:
            ArenaError: the engine cannot answer any conversation, for a reason that a user can fix.
        """
        ...

    def close(self) -> None:
        """Free the memory. The engine cannot answer afterwards."""
        ...


Answered = tuple[int, Completion | Refused]


@runtime_checkable
class Streaming(Protocol):
    """Optional protocol: yields answers as they are finished, in any order, without batches."""

    def stream(self, conversations: Sequence[Conversation], sampling: Sampling) -> Iterator[list[Answered]]:
        """Yield groups of (index, answer), each index once. Conversations are read lazily.

        Raises:
            ArenaError: the engine cannot continue; all earlier answers have been yielded.
        """
        ...


@runtime_checkable
class DrawsSamples(Protocol):
    """Optional protocol: draws several samples of a conversation in one request, which reads its prompt once.

    For engines whose sampled answers depend on the batch in any case (``sample_exact = False``, see `is_exact`).
    """

    def draw(
        self, conversations: Sequence[Conversation], sampling: Sampling, seeds: Sequence[int]
    ) -> list[list[Completion] | Refused]:
        """Return samples of each conversation, in order: one for each of ``seeds``, or `Refused`.

        Args:
            conversations: what is answered.
            sampling: how samples are drawn; its temperature is above 0, its own seed is not used.
            seeds: distinct seeds.

        Raises:
            ArenaError: the engine cannot answer any conversation, for a reason that a user can fix.
        """
        ...


@runtime_checkable
class Versioned(Protocol):
    """Optional protocol: makes answers usable that earlier versions of this project stored."""

    def variant(self, conversation: Conversation) -> str:
        """Return the store key's mark for a conversation whose prompt differs from earlier versions, else empty."""
        ...

    def said(self, text: str) -> SplitAnswer:
        """Split an answer that an earlier version stored together with its thought."""
        ...


def is_exact(engine: Engine, sampling: Sampling) -> bool:
    """Whether an answer is the same in any batch.

    A greedy one is where the engine says ``batch_exact``. A sampled one is too, unless the engine says
    ``sample_exact = False``: one that draws a batch with one seed, or whose draws hang on last bits.
    """
    sampled = sampling.temperature == 0 or bool(getattr(engine, "sample_exact", True))
    return engine.batch_exact and sampled


def older_fingerprints(of: object) -> Sequence[dict[str, str]]:
    """Return the equivalent fingerprints that an engine or judge had in earlier versions.

    They come from its attribute ``older_fingerprints``, if any; values stored under them are reused.
    """
    found: Sequence[dict[str, str]] = getattr(of, "older_fingerprints", ())
    return found


@runtime_checkable
class ReportsLogprobs(Protocol):
    """Optional protocol: reports log-probabilities of the most probable tokens.

    ``max_top_logprobs`` is the maximum number of tokens that it reports per position.
    """

    max_top_logprobs: int

    def respond_with_logprobs(
        self, conversations: Sequence[Conversation], sampling: Sampling, top_logprobs: int
    ) -> Iterator[list[Answered]]:
        """Yield answers like `Streaming.stream`, with the ``top_logprobs`` most probable tokens at each position."""
        ...


def stream_answers(
    engine: Engine, conversations: Sequence[Conversation], sampling: Sampling, *, top_logprobs: int = 0
) -> Iterator[list[Answered]]:
    """Yield groups of (index, answer) like `Streaming`; an engine without streaming answers in batches.

    Args:
        engine: the engine.
        conversations: the conversations to answer.
        sampling: how answers are sampled.
        top_logprobs: number of most probable tokens to report per position; the engine may report fewer.

    Raises:
        ArenaError: the engine cannot answer, or does not report log-probabilities.

    Example::

        for group in stream_answers(engine, conversations, params.sampling):
            for index, answer in group:
                print(index, answer.reason if isinstance(answer, Refused) else answer.text)
    """
    if top_logprobs:
        if not isinstance(engine, ReportsLogprobs):
            raise ArenaError(
                f"the engine '{engine.fingerprint['engine']}' does not report log-probabilities",
                hint="use transformers, vllm, or an endpoint with logprobs",
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
    """Yield groups of (index, answer), one group per batch."""
    places = iter(range(len(conversations)))
    while batch := list(islice(places, size)):
        yield list(zip(batch, respond([conversations[i] for i in batch]), strict=True))


MAX_REFUSED = 0.05  # default of `serving.max_refused`
_FEW = 5  # number of refused items that never stops a stage


def too_many_refused(refused: int, total: int, most: float) -> bool:
    """Return whether a stage should stop because too many items got no answer.

    Five refused items or fewer never stop a stage, so that a few odd items do not end a run.

    Args:
        refused: number of items without an answer.
        total: number of items of the stage.
        most: share of items that may be refused (`serving.max_refused`).

    Example:
        >>> too_many_refused(5, 20, 0.05), too_many_refused(6, 20, 0.05), too_many_refused(6, 200, 0.05)
        (False, True, False)
    """
    return refused > _FEW and refused > most * total
