"""The engine for endpoints with a Batch API: requests go as a file, and their answers come hours later.

Keys of the store are those of `engine.OpenAi`, so answers are shared with runs without batches. A request that a batch
left without an answer (it expired, was cancelled, or the request failed) is asked once more, in a second batch.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from arena_learning.core import canonical, check_deadline, logger
from arena_learning.engines.base import Answered, Completion, Conversation, Refused
from arena_learning.engines.openai.batch_client import BatchClient, BatchState
from arena_learning.engines.openai.batch_records import BatchRecord, BatchRecords
from arena_learning.engines.openai.batch_results import BatchResults, read_results
from arena_learning.engines.openai.engine import OpenAi
from arena_learning.engines.openai.request import request_body
from arena_learning.engines.openai.run import EndpointRun, timed
from arena_learning.params import Endpoint, Sampling

_MOST_BYTES = 190_000_000  # of one file; the protocol allows 200 MB
_ATTEMPTS = 2  # batches in which a request is sent before it counts as refused
_GROUP = 500  # answers that are stored at once
_ID_LENGTH = 48  # hex digits of a request's id, its body's hash


class _Request(NamedTuple):
    """A request: the places of its conversations (equal ones are asked once), and the length of its prompt in bytes."""

    places: list[int]
    size: int


class _Job:
    """The state of one call: its requests by id, the batches that are waited for, and the requests with an answer."""

    def __init__(self, run: EndpointRun) -> None:
        self.run = run
        self.wanted: dict[str, _Request] = {}
        self.batches: list[BatchRecord] = []
        self.done: set[str] = set()
        self.told: dict[str, str] = {}
        self.started = time.monotonic()

    def covered(self) -> set[str]:
        """Return the requests that are in a batch that has not been taken up."""
        return {request for record in self.batches for request in record.requests}


class BatchOpenAi(OpenAi):
    """Answers through an endpoint's Batch API.

    Args:
        model: name of the model at the endpoint.
        endpoint: settings of the endpoint.
        records: folder of the records of submitted batches.
        system: system prompt for conversations that have none.
        where: the endpoint's section of params.yaml, for errors.

    Raises:
        ArenaError: as `OpenAi`.

    Example:
        engine = BatchOpenAi("my-model", Endpoint(base_url="https://host/v1", batch=True), Path(".arena/batches"))
        answers = engine.respond([[Turn(role="user", content="Why is the sky blue?")]], Sampling())
    """

    def __init__(
        self, model: str, endpoint: Endpoint, records: Path, *, system: str = "", where: str = ""
    ) -> None:
        super().__init__(model, endpoint, system=system, where=where)
        self.batch_size = endpoint.batch_requests
        self._records = BatchRecords(records, f"{endpoint.base_url.rstrip('/')} {canonical(endpoint.query)}")
        self._batches = BatchClient(endpoint, where)

    def respond_with_logprobs(
        self, conversations: Sequence[Conversation], sampling: Sampling, top_logprobs: int
    ) -> Iterator[list[Answered]]:
        """Yield answers as batches end; see `ReportsLogprobs`. Closing the iterator cancels no batch.

        Raises:
            ArenaError: the endpoint is down or refuses, it takes longer than ``batch_wait`` or the run's hours, or a
                batch failed twice.
        """
        if not conversations:
            return
        job = _Job(EndpointRun(conversations, sampling, top_logprobs))
        for place in range(len(conversations)):
            body = self._body(place, job)
            size = sum(len(message["content"].encode()) for message in body["messages"])
            job.wanted.setdefault(_request_id(body), _Request([], size)).places.append(place)
        last = time.perf_counter()
        for group in self._answers(job):
            tokens = sum(a.prompt_tokens + a.completion_tokens for _, a in group if isinstance(a, Completion))
            each = (time.perf_counter() - last) / (tokens or 1)
            for start in range(0, len(group), _GROUP):
                yield [(place, timed(answer, each)) for place, answer in group[start : start + _GROUP]]
            last = time.perf_counter()
        self._say(job.run)

    def close(self) -> None:
        """Close the connections; batches go on."""
        self._batches.close()
        super().close()

    def _body(self, place: int, job: _Job) -> dict[str, Any]:
        return request_body(self._model, self._endpoint, self._system, job.run.conversations[place], job.run)

    def _answers(self, job: _Job) -> Iterator[list[Answered]]:
        """Submit what is in no batch, then wait for all batches; yield the answers of each that ends."""
        with self._records.locked():
            for record in self._records.open(job.wanted):
                job.batches += self._found_again(record, job)
            covered = job.covered()
            job.batches += self._submit([one for one in job.wanted if one not in covered], 1, job)
        while job.batches:
            for record in list(job.batches):
                state = self._batches.look(record.batch)
                self._tell(state, job)
                if state.ended:
                    job.batches.remove(record)
                    yield from self._taken_up(record, state, job)
            if job.batches:
                self._pause(job)
        if missing := len(job.wanted) - len(
            job.done
        ):  # another process has taken up a batch that this one needs
            raise self._error(f"{missing} requests are in no batch", "run again: stored answers are kept")

    def _found_again(self, record: BatchRecord, job: _Job) -> list[BatchRecord]:
        """Return an earlier run's record with its batch's id. A run that was killed before it learnt it left none."""
        if record.batch:
            return [record]
        if state := self._batches.find(record.name):
            return [self._records.save(record._replace(batch=state.id))]
        own = [request for request in record.requests if request in job.wanted]
        self._records.save(record._replace(requests=()))
        return self._submit(own, record.attempt, job)

    def _submit(self, requests: Sequence[str], attempt: int, job: _Job) -> list[BatchRecord]:
        """Create batches of ``requests``, and return their records."""
        made = []
        for part in self._parts(requests, job):
            record = self._records.add(part, attempt)
            bodies = ((one, self._body(job.wanted[one].places[0], job)) for one in part)
            state = self._batches.create(bodies, record.name)
            made.append(self._records.save(record._replace(batch=state.id)))
        return made

    def _parts(self, requests: Iterable[str], job: _Job) -> Iterator[list[str]]:
        """Yield the requests in parts that fit one file, by number and by a generous estimate of their bytes."""
        part: list[str] = []
        size = 0
        for request in requests:
            own = 2 * job.wanted[request].size + 2000
            if part and (len(part) == self._endpoint.batch_requests or size + own > _MOST_BYTES):
                yield part
                part, size = [], 0
            part.append(request)
            size += own
        if part:
            yield part

    def _taken_up(self, record: BatchRecord, state: BatchState, job: _Job) -> Iterator[list[Answered]]:
        """Yield the answers of a batch that has ended; submit once more what it left without an answer."""
        # A run that was killed here may have submitted some of it again already.
        mine = [one for one in record.requests if one in job.wanted.keys() - job.done - job.covered()]
        results = self._results(state, mine, job)
        found, again = results.found, [one for one in mine if one in results.reasons]
        self._say_ended(record, state, results)
        if record.attempt < _ATTEMPTS:
            with self._records.locked():
                job.batches += self._submit(again, record.attempt + 1, job)
        elif state.status == "failed" and again and not found:
            self._records.save(record._replace(requests=()))
            raise self._error(
                f"the endpoint failed batch {state.id}, the second one of these requests: {state.problem}",
                "correct what it says, or lower batch_requests; then run again: stored answers are kept",
            )
        else:
            found |= {
                one: Refused(f"no answer in two batches: {results.reasons[one]}", passing=True)
                for one in again
            }
        job.done |= found.keys()
        yield [(place, answer) for one, answer in found.items() for place in job.wanted[one].places]
        # Only now has the caller stored the answers. What other runs want of this batch stays in the record.
        kept = tuple(one for one in record.requests if one not in job.wanted)
        self._records.save(record._replace(requests=kept))

    def _results(self, state: BatchState, mine: Sequence[str], job: _Job) -> BatchResults:
        nothing = (
            "no line in the batch's files" if state.status == "completed" else f"the batch {state.status}"
        )
        nothing += f": {state.problem}" if state.problem else ""
        lines = chain.from_iterable(self._batches.lines(file) for file in state.files)
        sizes = {one: job.wanted[one].size for one in mine}
        results = read_results(lines, sizes, job.run.sampling.max_tokens, nothing)
        job.run.unknown += results.unknown
        return results

    def _pause(self, job: _Job) -> None:
        hours = (time.monotonic() - job.started) / 3600
        if hours > self._endpoint.batch_wait:
            names = ", ".join(record.batch for record in job.batches)
            raise self._error(
                f"batch {names} has not ended after {hours:.2g} hours",
                "run again later: the batch goes on and is not submitted again. batch_wait is how long a run waits",
            )
        check_deadline(
            f"{len(job.wanted) - len(job.done)} answers of batches, which go on and are not submitted again"
        )
        time.sleep(self._endpoint.batch_poll)

    def _tell(self, state: BatchState, job: _Job) -> None:
        """Say what has changed about a batch."""
        line = f"{state.status}, {state.counts}" if state.counts else state.status
        if job.told.get(state.id) != line:
            job.told[state.id] = line
            logger.info(f"{self._place()}: batch {state.id}: {line}")

    def _say_ended(self, record: BatchRecord, state: BatchState, results: BatchResults) -> None:
        if not results.reasons:
            return
        answered = sum(isinstance(answer, Completion) for answer in results.found.values())
        counted = Counter(results.reasons.values()).most_common(5)
        listed = ", ".join(f"{count} x {why}" for why, count in counted)
        then = "asked once more" if record.attempt < _ATTEMPTS else "not asked again in this run"
        logger.warning(
            f"{self._place()}: batch {state.id}: {answered} answers, {len(results.reasons)} requests without one "
            f"({listed}): {then}"
        )

    def _place(self) -> str:
        return self._where or self._endpoint.base_url


def _request_id(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical(body).encode()).hexdigest()[:_ID_LENGTH]
