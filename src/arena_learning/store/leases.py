"""Leases record which process works on which key, so that two processes never do the same work.

A lease ends with its process: each holder keeps a file locked, and the operating system releases the lock when the
process ends for any reason. So leases need no expiry time and no renewal. Stores that one process has open at the same
time are holders of their own, and wait for each other as processes do. All users of a store are on one machine anyway,
because of SQLite's WAL mode. The table is named ``claims``, as in stores of earlier versions.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from arena_learning.core import is_locked

if TYPE_CHECKING:
    from filelock import BaseFileLock

SCHEMA = "CREATE TABLE IF NOT EXISTS claims (key BLOB PRIMARY KEY, holder TEXT NOT NULL) WITHOUT ROWID"


class Leases:
    """The leases of one open store.

    Every method except `end` must run inside a write transaction of ``db``, so that looking up and leasing are one
    atomic step.

    Args:
        db: the store's connection.
        folder: contains a locked file for each process with leases; created when first needed.
        chunk: maximum number of keys per SQL statement.
    """

    def __init__(self, db: sqlite3.Connection, folder: Path, chunk: int) -> None:
        self._db, self._folder, self._chunk = db, folder, chunk
        self._lock: BaseFileLock | None = None
        self._name = uuid.uuid4().hex

    def take(self, keys: Sequence[bytes]) -> None:
        """Lease ``keys`` to this process, even if another process held them."""
        if self._lock is None:
            self._begin()
        rows = [(key, self._name) for key in keys]
        self._db.executemany("INSERT OR REPLACE INTO claims (key, holder) VALUES (?, ?)", rows)

    def others(self, keys: Sequence[bytes]) -> set[bytes]:
        """Return those of ``keys`` that another running process has leased."""
        found: dict[bytes, str] = {}
        for start in range(0, len(keys), self._chunk):
            some = keys[start : start + self._chunk]
            query = (
                f"SELECT key, holder FROM claims WHERE key IN ({','.join('?' * len(some))}) AND holder != ?"
            )
            found.update(self._db.execute(query, (*some, self._name)).fetchall())
        dead = {holder for holder in set(found.values()) if not self._lives(holder)}
        return {key for key, holder in found.items() if holder not in dead}

    def release(self) -> None:
        """Release all leases of this process."""
        self._db.execute("DELETE FROM claims WHERE holder = ?", (self._name,))

    def end(self) -> None:
        """Release the lock, which frees all remaining leases."""
        if self._lock is not None:
            self._place(self._name).unlink(missing_ok=True)
            self._lock.release()
            self._lock = None

    def _begin(self) -> None:
        """Create and lock this process's file, and delete the leases of dead processes."""
        from filelock import FileLock

        self._lock = FileLock(self._place(self._name), thread_local=False)
        self._lock.acquire()
        living = {place.name for place in self._folder.iterdir() if self._lives(place.name)}
        for (holder,) in self._db.execute("SELECT DISTINCT holder FROM claims").fetchall():
            if holder not in living:
                self._db.execute("DELETE FROM claims WHERE holder = ?", (holder,))

    def _lives(self, holder: str) -> bool:
        """Whether the process of ``holder`` still locks its file; a dead process's file is deleted."""
        place = self._place(holder)
        if is_locked(place):
            return True
        place.unlink(missing_ok=True)
        return False

    def _place(self, holder: str) -> Path:
        return self._folder / holder
