"""Copies of an engine on Ray: each answers whole batches in a process of its own, on this machine or a cluster.

Nothing that a caller sees is another than with one engine: the fingerprint, so that answers are shared; the batches, so
that an answer that depends on its batch repeats; refusals; and errors. Ray starts a copy that died again and gives it
its batch once more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

from arena_learning.core import ArenaError, logger
from arena_learning.engines.base import (
    Answered,
    Completion,
    Conversation,
    Engine,
    Refused,
    ReportsLogprobs,
    stream_answers,
)
from arena_learning.engines.ray_cluster import first_line, join_ray, require_ray
from arena_learning.params import Ray, Sampling

# Optional attributes of an engine that the copies' front has if the engine has them; see `base`.
_SHARED = ("variant", "said", "older_fingerprints", "sample_exact", "max_top_logprobs")
_CLOSING = 10.0  # seconds that copies have to close their engines
_LOADING = 30.0  # seconds between two notes that copies are not placed yet


class _Failure(NamedTuple):
    """An `ArenaError` on its way from a copy; Ray would wrap the error itself."""

    what: str
    where: str
    hint: str


class _Copy:
    """What runs in a copy's process, and again in a new one after it died."""

    def __init__(self, make: Callable[[], Engine], fingerprint: dict[str, str], where: str) -> None:
        self._make, self._fingerprint, self._where = make, fingerprint, where
        self._engine: Engine | None = None

    def ready(self) -> _Failure | None:
        """Open the engine; return why it cannot be used."""
        try:
            self._opened()
        except ArenaError as error:
            return _Failure(error.what, error.where, error.hint)
        return None

    def answer(
        self, conversations: list[Conversation], sampling: Sampling, top_logprobs: int
    ) -> list[Answered] | _Failure:
        """Answer one batch."""
        try:
            groups = stream_answers(self._opened(), conversations, sampling, top_logprobs=top_logprobs)
            return list(chain.from_iterable(groups))
        except ArenaError as error:
            return _Failure(error.what, error.where, error.hint)

    def close(self) -> None:
        """Close the engine, which may have a process of its own."""
        if self._engine is not None:
            self._engine.close()

    def _opened(self) -> Engine:
        """Return the engine; refuse one that would answer otherwise, as its answers would get a wrong key."""
        if self._engine is not None:
            return self._engine
        engine = self._make()
        wanted, found = self._fingerprint, engine.fingerprint
        other = [key for key in wanted | found if wanted.get(key) != found.get(key)]
        if other:
            raise ArenaError(
                f"a replica would answer otherwise: its {other[0]} is {found.get(other[0])!r}, and here it is "
                f"{wanted.get(other[0])!r}",
                where=f"{self._where}.replicas",
                hint="use machines of one kind with one set of packages, and start arena on one of them",
            )
        self._engine = engine
        return engine


class Replicas:
    """Answers through copies of an engine; see the module.

    The first conversation starts Ray and the copies. A run whose answers are all stored starts neither.

    Args:
        make: opens the engine; it is called here, for the engine's fingerprint, and in each copy. Ray pickles it.
        count: number of copies.
        ray: where they run, and on how many GPUs.
        tensor_parallel: GPUs over which vLLM splits one copy.
        where: the section of params.yaml, for errors.

    Raises:
        ArenaError: Ray is not installed, or the engine cannot be opened.

    Example:
        make = partial(open_folder, folder, serving, weights, paths)
        engine = Replicas(make, 4, Ray(address="auto"), where="serving")
    """

    def __init__(
        self, make: Callable[[], Engine], count: int, ray: Ray, *, tensor_parallel: int = 1, where: str = ""
    ) -> None:
        require_ray(f"{where}.replicas", "set replicas to 1")
        self._make, self._count, self._ray, self._where = make, count, ray, where
        self._engine = make()  # without its weights, which it loads with the first conversation
        self.fingerprint = self._engine.fingerprint
        # A caller hands over, and leases, as many batches as there are copies. Each batch is the same as with one.
        self.batch_size = count * self._engine.batch_size
        self.batch_exact = self._engine.batch_exact
        for name in _SHARED:
            if hasattr(self._engine, name):
                setattr(self, name, getattr(self._engine, name))
        if isinstance(self._engine, ReportsLogprobs):
            self.respond_with_logprobs = self._answers
        on_cpu = self.fingerprint.get("device", "cpu") == "cpu"
        needed = 0 if on_cpu else tensor_parallel
        self._gpus: float = needed if isinstance(ray.gpus, str) else ray.gpus
        self._copies: list[Any] = []

    def respond(
        self, conversations: Sequence[Conversation], sampling: Sampling
    ) -> list[Completion | Refused]:
        """Answer each conversation, in order; see `base.Engine`."""
        found = dict(pair for group in self.stream(conversations, sampling) for pair in group)
        return [found[place] for place in range(len(conversations))]

    def stream(self, conversations: Sequence[Conversation], sampling: Sampling) -> Iterator[list[Answered]]:
        """Yield the answers of each batch as a copy returns it; see `base.Streaming`."""
        return self._answers(conversations, sampling, 0)

    def close(self) -> None:
        """End the copies."""
        copies, self._copies = self._copies, []
        if copies:
            import ray

            if not ray.is_initialized():  # Ray has ended, and the copies with it
                copies = []
            closing = [copy.close.remote() for copy in copies]
            if closing:
                ray.wait(closing, num_returns=len(closing), timeout=_CLOSING)
            for copy in copies:
                ray.kill(copy)
        self._engine.close()

    def _answers(
        self, conversations: Sequence[Conversation], sampling: Sampling, top_logprobs: int
    ) -> Iterator[list[Answered]]:
        """Yield groups of (index, answer), a batch each; after an error, the batches that were in work first.

        Raises:
            ArenaError: a copy's engine cannot answer, or a copy died twice on the same batch.
        """
        if not conversations:
            return
        import ray

        free = list(self._started())
        starts = iter(range(0, len(conversations), self._engine.batch_size))
        working: dict[Any, tuple[Any, int]] = {}
        failed: ArenaError | None = None
        last = time.perf_counter()
        while True:
            while free and failed is None and (start := next(starts, None)) is not None:
                end = min(start + self._engine.batch_size, len(conversations))
                batch = [list(conversations[place]) for place in range(start, end)]
                copy = free.pop(0)
                working[copy.answer.remote(batch, sampling, top_logprobs)] = (copy, start)
            if not working:
                break
            (done,), _ = ray.wait(list(working), num_returns=1)
            copy, start = working.pop(done)
            free.append(copy)
            try:
                answers = self._received(done)
            except ArenaError as error:
                failed = failed or error
                continue
            now = time.perf_counter()
            yield _placed(answers, start, now - last)
            last = now
        if failed is not None:
            raise failed

    def _received(self, task: Any) -> Any:
        """Return what a copy returned.

        Raises:
            ArenaError: it was an error, or the copy died and died again.
        """
        import ray

        try:
            found = ray.get(task)
        except ray.exceptions.RayError as error:
            raise ArenaError(
                f"a copy of the model died twice on the same batch: {first_line(error)}",
                where=self._where,
                hint="see whether it ran out of memory: lower serving.batch_size or replicas, then run again; stored "
                "answers are kept",
            ) from error
        if isinstance(found, _Failure):
            raise ArenaError(found.what, where=found.where, hint=found.hint)
        return found

    def _started(self) -> list[Any]:
        """Return the copies; the first call starts them.

        Raises:
            ArenaError: there is no cluster, it has too few GPUs, or a copy would answer otherwise.
        """
        if self._copies:
            return self._copies
        import ray

        join_ray(self._ray)
        needed, there = self._count * self._gpus, ray.cluster_resources().get("GPU", 0.0)
        if needed > there:
            raise ArenaError(
                f"{self._count} replicas with {self._gpus:g} GPUs each need {needed:g} GPUs, and the cluster has "
                f"{there:g}",
                where=f"{self._where}.replicas",
                hint="lower replicas, or let them share GPUs by ray.gpus",
            )
        remote = ray.remote(_Copy).options(
            num_gpus=self._gpus, max_restarts=-1, max_task_retries=1, scheduling_strategy="SPREAD"
        )
        self._copies = [remote.remote(self._make, self.fingerprint, self._where) for _ in range(self._count)]
        opened = [copy.ready.remote() for copy in self._copies]
        try:
            self._wait_for(opened)
            for task in opened:
                self._received(task)
        except BaseException:
            self.close()
            raise
        return self._copies

    def _wait_for(self, opened: Sequence[Any]) -> None:
        """Wait until all copies run, and say what is missing meanwhile."""
        import ray

        while left := ray.wait(list(opened), num_returns=len(opened), timeout=_LOADING)[1]:
            free = ray.available_resources()
            logger.info(
                f"{self._where}: waiting for {len(left)} of {self._count} replicas; free in the cluster: "
                f"{free.get('CPU', 0):g} CPUs, {free.get('GPU', 0):g} GPUs"
            )


def _placed(answers: Sequence[Answered], start: int, seconds: float) -> list[Answered]:
    """Return a batch's answers with their places among all, and their shares of the wall time by tokens."""
    tokens = sum(a.prompt_tokens + a.completion_tokens for _, a in answers if isinstance(a, Completion))
    each = seconds / (tokens or 1)
    return [
        (
            start + place,
            answer._replace(seconds=each * (answer.prompt_tokens + answer.completion_tokens))
            if isinstance(answer, Completion)
            else answer,
        )
        for place, answer in answers
    ]
