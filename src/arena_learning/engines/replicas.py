"""Copies of an engine on Ray: each answers whole batches in a process of its own, on this machine or a cluster.

Nothing that a caller sees is another than with one engine: the fingerprint, so that answers are shared; the batches, so
that an answer that depends on its batch repeats; refusals; and errors. The batch of a copy that died is given to
another one. Ray starts a new copy for it, on another node if its own is gone; until it has room, the others go on.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from arena_learning.core import ArenaError, check_deadline, first_line, logger
from arena_learning.engines.base import (
    Answered,
    Completion,
    Conversation,
    Engine,
    Refused,
    ReportsLogprobs,
)
from arena_learning.engines.ray_cluster import join_ray, require_ray
from arena_learning.engines.replica import Failure, Replica
from arena_learning.params import Ray, Sampling

# Optional attributes of an engine that the copies' front has if the engine has them; see `base`.
_SHARED = ("variant", "said", "older_fingerprints", "sample_exact", "max_top_logprobs")
_CLOSING = 10.0  # seconds that copies have to close their engines
_OPENINGS = 3  # times that a copy which died is opened again before it is left out
_LOADING = 30.0  # seconds between two notes that copies are not placed yet


class _LostError(Exception):
    """A copy died, or its node with what it returned."""


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
        self._away: dict[Any, int] = {}  # copies that died, by the task that ends when they are open again
        self._lost: set[int] = set()  # copies that could not be opened again: they are given nothing more

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
        copies, self._copies, self._away, self._lost = self._copies, [], {}, set()
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
        self._started()
        size = self._engine.batch_size
        gone = self._lost.union(self._away.values())
        free = [number for number in range(self._count) if number not in gone]
        starts, again = deque(range(0, len(conversations), size)), set[int]()
        working: dict[Any, tuple[int, int]] = {}
        failed: ArenaError | None = None
        last = time.perf_counter()
        while True:
            while free and starts and failed is None:
                number, start = free.pop(0), starts.popleft()
                batch = [list(turns) for turns in conversations[start : start + size]]
                # Without Ray's own retry, which would wait for a new copy while another one is free.
                asked = self._copies[number].answer.options(max_task_retries=0)
                working[asked.remote(batch, sampling, top_logprobs)] = number, start
            if not working and (failed is not None or not starts):
                break
            task = self._next_done(working)
            if task in self._away:
                free += self._returned(task)
                continue
            number, start = working.pop(task)
            try:
                answers = _received(task)
            except _LostError as error:
                self._away[self._copies[number].ready.options(max_task_retries=_OPENINGS).remote()] = number
                if start in again:
                    failed = failed or self._died_twice(error)
                else:
                    again.add(start)
                    starts.appendleft(start)
                continue
            except ArenaError as error:
                free.append(number)
                failed = failed or error
                continue
            free.append(number)
            now = time.perf_counter()
            yield _placed(answers, start, now - last)
            last = now
        if failed is not None:
            raise failed

    def _next_done(self, working: Iterable[Any]) -> Any:
        """Wait for a batch, or for a copy that died to be back, and say what is missing meanwhile.

        Raises:
            ArenaError: no copy is left.
        """
        import ray

        waited = [*working, *self._away]
        if not waited:
            raise ArenaError(
                f"all {self._count} copies of the model died, and none could be opened again",
                where=f"{self._where}.replicas",
                hint="see whether they ran out of memory: lower serving.batch_size or replicas, then run again; stored "
                "answers are kept",
            )
        while not (done := ray.wait(waited, num_returns=1, timeout=_LOADING)[0]):
            if self._away:
                self._say_waiting(len(self._away), "that died")
        return done[0]

    def _returned(self, task: Any) -> list[int]:
        """Return the number of a copy that is back; none if it cannot be opened any more."""
        number = self._away.pop(task)
        try:
            _received(task)
        except (_LostError, ArenaError) as error:
            logger.warning(f"{self._where}: a copy of the model is lost: {first_line(error)}")
            self._lost.add(number)
            return []
        return [number]

    def _died_twice(self, error: Exception) -> ArenaError:
        return ArenaError(
            f"a copy of the model died twice on the same batch: {first_line(error)}",
            where=self._where,
            hint="see whether it ran out of memory: lower serving.batch_size or replicas, then run again; stored "
            "answers are kept",
        )

    def _started(self) -> None:
        """Start the copies at the first call.

        Raises:
            ArenaError: there is no cluster, it has too few GPUs, or a copy would answer otherwise.
        """
        if self._copies:
            return
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
        remote = ray.remote(Replica).options(
            num_gpus=self._gpus, max_restarts=-1, max_task_retries=1, scheduling_strategy="SPREAD"
        )
        self._copies = [remote.remote(self._make, self.fingerprint, self._where) for _ in range(self._count)]
        opened = [copy.ready.remote() for copy in self._copies]
        try:
            self._wait_for(opened)
            for task in opened:
                _received(task)
        except _LostError as error:
            self.close()
            raise ArenaError(
                f"a copy of the model died when it was opened: {first_line(error)}",
                where=f"{self._where}.replicas",
                hint="see whether it ran out of memory: lower replicas",
            ) from error
        except BaseException:
            self.close()
            raise

    def _wait_for(self, opened: Sequence[Any]) -> None:
        """Wait until all copies run, and say what is missing meanwhile."""
        import ray

        while left := ray.wait(list(opened), num_returns=len(opened), timeout=_LOADING)[1]:
            check_deadline(f"{len(left)} replicas of {self._where}, which wait for room in the cluster")
            self._say_waiting(len(left), "")

    def _say_waiting(self, count: int, what: str) -> None:
        import ray

        free = ray.available_resources()
        which = f"replicas {what}".strip()
        logger.info(
            f"{self._where}: waiting for {count} of {self._count} {which}; free in the cluster: "
            f"{free.get('CPU', 0):g} CPUs, {free.get('GPU', 0):g} GPUs"
        )


def _received(task: Any) -> Any:
    """Return what a copy returned.

    Raises:
        ArenaError: it was an error.
        _LostError: the copy died, or its node with the result.
    """
    import ray

    try:
        found = ray.get(task)
    except ray.exceptions.RayTaskError:  # an exception in the copy's code, which no other copy would bear
        raise
    except ray.exceptions.RayError as error:
        raise _LostError(first_line(error)) from error
    if isinstance(found, Failure):
        raise ArenaError(found.what, where=found.where, hint=found.hint)
    return found


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
