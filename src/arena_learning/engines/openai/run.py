"""The state of one call to an endpoint, and the thread of its event loop."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from arena_learning.engines.base import Answered, Completion, Conversation, Refused
from arena_learning.params import Sampling

T = TypeVar("T")
_GROUP_SECONDS = 0.02  # answers that arrive within this time are yielded as one group


class EndpointRun:
    """The conversations of one call, and counts of its requests and replies.

    Attributes:
        top_logprobs: number of most probable tokens to request per position.
        done: finished answers; None marks the end.
        sent: requests sent; ``answered``, ``refused``: those with that result.
        maybe_twice: repeated requests whose first answer may have been generated too.
        alive: replies that show that the server works: answers, refusals, other bodies with status 200.
        unanswered: conversations since the last answer that got no readable reply.
        fruitless: conversations since the last answer whose replies were empty or broken off each time.
        again: repeated requests by reason.
        unknown: unknown finish reasons.
        heard: set when the first reply or error has arrived.
    """

    def __init__(
        self, conversations: Sequence[Conversation], sampling: Sampling, top_logprobs: int = 0
    ) -> None:
        self.conversations, self.sampling, self.top_logprobs = conversations, sampling, top_logprobs
        self.places = iter(range(len(conversations)))
        self.done: queue.SimpleQueue[Answered | None] = queue.SimpleQueue()
        self.sent = self.answered = self.refused = self.maybe_twice = 0
        self.alive = self.unanswered = self.fruitless = 0
        self.again: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self.heard = asyncio.Event()


def groups(run: EndpointRun) -> Iterator[list[Answered]]:
    """Yield groups of answers until all are done; the time between two groups is divided among them by tokens."""
    last = time.perf_counter()
    ended = False
    while not ended:
        items = [run.done.get()]
        time.sleep(_GROUP_SECONDS)
        while not run.done.empty():
            items.append(run.done.get())
        group = [item for item in items if item is not None]
        ended = len(group) < len(items)
        now = time.perf_counter()
        total = sum(a.prompt_tokens + a.completion_tokens for _, a in group if isinstance(a, Completion)) or 1
        if group:
            yield [(place, timed(answer, (now - last) / total)) for place, answer in group]
        last = now


class LoopThread:
    """An event loop in a daemon thread, which starts when it is first needed."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Whether the loop is running."""
        return self._loop is not None

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start ``work`` in the loop."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=_forever, args=(self._loop,), daemon=True, name="openai")
            self._thread.start()
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def stop(self) -> None:
        """Stop the loop and its thread."""
        loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(timeout=10)


def _forever(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
    unfinished = asyncio.all_tasks(loop)
    for task in unfinished:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*unfinished, return_exceptions=True))
    loop.close()


def timed(answer: Completion | Refused, seconds_a_token: float) -> Completion | Refused:
    """Return an answer with its share of the time, by its tokens."""
    if isinstance(answer, Refused):
        return answer
    return answer._replace(seconds=seconds_a_token * (answer.prompt_tokens + answer.completion_tokens))
