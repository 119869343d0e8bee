"""The memory of responses and games: content-addressed, crash-safe, shared by all stages.

A key is the hash of everything that could change the value; a value is JSON. SQLite in WAL mode lets several processes
read and write; each batch is one transaction, so a crash loses at most the batch in flight. Failures are never stored.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from arena_learning.errors import ArenaError
from arena_learning.rows import SCHEMA_VERSION, canonical

Kind = Literal["response", "game"]

_PATIENCE_SECONDS = 60.0
_CHUNK = 500  # SQLite's default limit is 999 (older) variables a statement
_SCHEMA = """
CREATE TABLE IF NOT EXISTS memory (
    key BLOB PRIMARY KEY, kind TEXT NOT NULL, value TEXT NOT NULL, created TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) WITHOUT ROWID
"""


def store_key(kind: Kind, parts: Mapping[str, Any]) -> bytes:
    """Return the 32-byte key of ``parts``: equal parts, equal key, in any process."""
    whole = {"kind": kind, "schema": SCHEMA_VERSION, **parts}
    return hashlib.sha256(canonical(whole).encode()).digest()


class Store:
    """A store at ``path`` (made if missing); a context manager.

    Args:
        path: the database file.
        fresh: look nothing up, so that all is paid again; what is paid is still kept.

    Raises:
        ArenaError: the file is not a store, is locked for long, or the disk is full.
    """

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self._path, self._fresh = path, fresh
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArenaError(f"its folder cannot be made: {error.strerror}", where=str(path)) from None
        try:
            self._db = sqlite3.connect(path, timeout=_PATIENCE_SECONDS, isolation_level=None)
            self._to_wal()
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute(_SCHEMA)
        except sqlite3.Error as error:
            raise self._failed(error) from None

    def _to_wal(self) -> None:
        """Turn write-ahead logging on; two processes that do so to a new file at once do not wait by themselves."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                self._db.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > end:
                    raise
                time.sleep(0.02)

    def get(self, keys: Sequence[bytes]) -> dict[bytes, dict[str, Any]]:
        """Return the values of those ``keys`` that are known."""
        found: dict[bytes, dict[str, Any]] = {}
        if self._fresh:
            return found
        try:
            for start in range(0, len(keys), _CHUNK):
                chunk = keys[start : start + _CHUNK]
                marks = ",".join("?" * len(chunk))
                rows = self._db.execute(f"SELECT key, value FROM memory WHERE key IN ({marks})", chunk)
                found.update((key, json.loads(value)) for key, value in rows)
        except sqlite3.Error as error:
            raise self._failed(error) from None
        return found

    def put(self, kind: Kind, items: Mapping[bytes, Mapping[str, Any]]) -> None:
        """Remember ``items`` in one transaction; a known key keeps the newer value."""
        rows = [(key, kind, canonical(value)) for key, value in items.items()]
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany(
                    "INSERT OR REPLACE INTO memory (key, kind, value) VALUES (?, ?, ?)", rows
                )
            except BaseException:
                if self._db.in_transaction:  # a full disk has rolled back already
                    self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._failed(error) from None

    def count(self, kind: Kind) -> int:
        """Return how many values of ``kind`` are remembered."""
        try:
            (number,) = self._db.execute("SELECT COUNT(*) FROM memory WHERE kind = ?", (kind,)).fetchone()
        except sqlite3.Error as error:
            raise self._failed(error) from None
        return int(number)

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _failed(self, error: sqlite3.Error) -> ArenaError:
        text = str(error)
        mend = {
            "database or disk is full": "free some disk space and run again: what was answered so far is kept",
            "file is not a database": "move the file away: it will be made anew, and answers are paid again",
            "database disk image is malformed": "move the file away: it will be made anew, and answers are paid again",
            "database is locked": "another process has held it for a minute: wait for it, or end it",
        }.get(text, "")
        return ArenaError(f"the store failed: {text}", where=str(self._path), mend=mend)
