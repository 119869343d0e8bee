"""Leases: which process is about to ask for what, so that two processes on one store never ask for the same thing.

A lease ends with its process: each holder keeps a file locked, and the operating system drops that lock however the
process ends. So there is no time to choose after which a lease is stale, and none to renew. WAL mode binds all users
of a store to one machine anyway. The table is called ``claims``, as in stores of earlier versions.
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

    Every method but `end` must run inside a write transaction of ``db``: that makes looking and leasing one step.

    Args:
        db: the store's connection.
        folder: holds a locked file for each process that holds any; made when it is first needed.
        chunk: keys in one statement.
    """

    def __init__(self, db: sqlite3.Connection, folder: Path, chunk: int) -> None:
        self._db, self._folder, self._chunk = db, folder, chunk
        self._lock: BaseFileLock | None = None
        self._name = uuid.uuid4().hex

    def take(self, keys: Sequence[bytes]) -> None:
        """Lease ``keys``, whoever held them before."""
        if self._lock is None:
            self._begin()
        rows = [(key, self._name) for key in keys]
        self._db.executemany("INSERT OR REPLACE INTO claims (key, holder) VALUES (?, ?)", rows)

    def others(self, keys: Sequence[bytes]) -> set[bytes]:
        """Return those of ``keys`` that another living process has leased."""
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
        """Give back all leases of this process."""
        self._db.execute("DELETE FROM claims WHERE holder = ?", (self._name,))

    def end(self) -> None:
        """Drop the lock: whatever is still leased is free."""
        if self._lock is not None:
            self._place(self._name).unlink(missing_ok=True)
            self._lock.release()
            self._lock = None

    def _begin(self) -> None:
        """Become a holder, and sweep up behind those that have died."""
        from filelock import FileLock

        self._lock = FileLock(self._place(self._name), thread_local=False)
        self._lock.acquire()
        living = {place.name for place in self._folder.iterdir() if self._lives(place.name)}
        for (holder,) in self._db.execute("SELECT DISTINCT holder FROM claims").fetchall():
            if holder not in living:
                self._db.execute("DELETE FROM claims WHERE holder = ?", (holder,))

    def _lives(self, holder: str) -> bool:
        """Whether the process behind ``holder`` still keeps its file locked; the file of a dead one goes."""
        place = self._place(holder)
        if is_locked(place):
            return True
        place.unlink(missing_ok=True)
        return False

    def _place(self, holder: str) -> Path:
        return self._folder / holder
