"""Records of submitted batches, beside the store: a run that was killed finds its batch again and waits for it.

A record is written before its batch is created and names the requests that are in it, so no request is submitted twice.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from arena_learning.core import ArenaError, read_json, write_json

_KEPT_SECONDS = 30 * 86400  # after that, services have deleted a batch's files


class BatchRecord(NamedTuple):
    """A batch of one endpoint.

    Attributes:
        name: of the record; the batch carries it in its metadata.
        place: address of the endpoint.
        attempt: 1, or 2 for requests that an earlier batch left without an answer.
        created: when the record was made, in seconds since 1970.
        requests: ids of the requests whose answers have not been taken up.
        batch: the endpoint's id of the batch; empty until the endpoint has told it.
    """

    name: str
    place: str
    attempt: int
    created: float
    requests: tuple[str, ...]
    batch: str = ""


class BatchRecords:
    """The records of one endpoint.

    Args:
        folder: holds the records of all endpoints, a file each.
        place: address of the endpoint.
    """

    def __init__(self, folder: Path, place: str) -> None:
        self._folder, self._place = folder, place

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let no other process submit during the block, so that two processes do not submit the same requests."""
        from filelock import FileLock

        self._folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self._folder / "lock"):
            yield

    def open(self, wanted: Iterable[str]) -> list[BatchRecord]:
        """Return the records with any of the ``wanted`` requests, the oldest first; delete those of deleted files."""
        found, ids = [], set(wanted)
        for file in sorted(self._folder.glob("*.json")):
            try:
                fields: dict[str, Any] = read_json(file)
                record = BatchRecord(**{**fields, "requests": tuple(fields["requests"])})
            except (ArenaError, TypeError, KeyError):  # deleted by another process, or another version's
                continue
            if record.created < time.time() - _KEPT_SECONDS:
                file.unlink(missing_ok=True)
            elif record.place == self._place and not ids.isdisjoint(record.requests):
                found.append(record)
        return sorted(found, key=lambda record: record.created)

    def add(self, requests: Sequence[str], attempt: int) -> BatchRecord:
        """Write the record of a batch that is about to be created."""
        return self.save(BatchRecord(uuid.uuid4().hex, self._place, attempt, time.time(), tuple(requests)))

    def save(self, record: BatchRecord) -> BatchRecord:
        """Write a record; one without requests is deleted."""
        if record.requests:
            write_json(self._folder / f"{record.name}.json", record._asdict())
        else:
            (self._folder / f"{record.name}.json").unlink(missing_ok=True)
        return record
