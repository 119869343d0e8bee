"""The memory of responses and games: content-addressed, crash-safe, shared by all stages.

A key is the hash of everything that could change the value; a value is JSON. SQLite in WAL mode lets several processes
read and write; each batch is one transaction, so a crash loses at most the batch in flight. Failures are never stored.
What a process is about to ask for it leases first (`leases`), so that no other asks for it too.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple

from arena_learning.core import ArenaError, canonical
from arena_learning.schema import SCHEMA_VERSION
from arena_learning.store import layout as store_layout
from arena_learning.store import leases

Kind = Literal["response", "game"]

_PATIENCE_SECONDS = 60.0
_SETTINGS = (
    # No wait for the disk at each batch: with a log, a killed process loses nothing all the same, and a machine that
    # loses its power only the last batches.
    "synchronous=NORMAL",
    # Some builds of SQLite write zeros over what is freed, by way of the log: to drop a table of 0.9 GB then takes as
    # much of log. What a store forgets is nothing that must be destroyed.
    "secure_delete=OFF",
)
_CHUNK = 500  # SQLite's default limit is 999 (older) variables a statement
_ANEW = "move the file away: it will be made anew, and answers are asked for again"


def store_key(kind: Kind, parts: Mapping[str, Any]) -> bytes:
    """Return the 32-byte key of ``parts``: equal parts, equal key, in any process."""
    whole = {"kind": kind, "schema": SCHEMA_VERSION, **parts}
    return hashlib.sha256(canonical(whole).encode()).digest()


class Leased(NamedTuple):
    """What of some keys is known, what is now this process's to ask for, and what another process is asking for."""

    known: dict[bytes, dict[str, Any]]
    mine: list[bytes]
    theirs: list[bytes]


class Store:
    """A store at ``path`` (made if missing); a context manager.

    Args:
        path: the database file.
        fresh: look nothing up, so that all is asked for again; what comes is still kept.

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
            for setting in _SETTINGS:
                self._db.execute(f"PRAGMA {setting}")
            self._db.execute(store_layout.SCHEMA)
            self._db.execute(leases.SCHEMA)
            store_layout.migrate(self._db, path, self._transaction)
            self._leases = leases.Leases(self._db, path.with_name(f"{path.name}.holders"), _CHUNK)
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
                found.update(_parsed(rows.fetchall()))
        except sqlite3.Error as error:
            raise self._failed(error) from None
        except ValueError:
            raise self._failed("a value in it is no JSON") from None
        return found

    def put(self, kind: Kind, items: Mapping[bytes, Mapping[str, Any]]) -> None:
        """Remember ``items`` in one transaction; a known key keeps the newer value."""
        rows = [(key, kind, canonical(value)) for key, value in items.items()]
        with self._writing():
            self._db.executemany("INSERT OR REPLACE INTO memory (key, kind, value) VALUES (?, ?, ?)", rows)

    def adopt(self, older: Mapping[bytes, bytes]) -> None:
        """Remember under present keys what is remembered under older ones, where the present ones are unknown.

        Args:
            older: present key to the key that an earlier version of this project gave the same thing.
        """
        if self._fresh or not older:
            return
        copy = (
            "INSERT OR IGNORE INTO memory (key, kind, value, created) "
            "SELECT ?, kind, value, created FROM memory WHERE key = ?"
        )
        with self._writing():
            self._db.executemany(copy, list(older.items()))

    def forget(self, keys: Sequence[bytes]) -> None:
        """Forget what is known of ``keys``: it is asked again."""
        with self._writing():
            self._db.executemany("DELETE FROM memory WHERE key = ?", [(key,) for key in keys])

    def lease(self, keys: Sequence[bytes], *, whole: bool = False) -> Leased:
        """Look ``keys`` up and lease what is neither known nor leased by another living process, in one step.

        A fresh store finds nothing and leases nothing: everything is this process's to ask for.

        Args:
            keys: distinct.
            whole: where something is missing, lease all keys, known ones too, or, if another process holds one, none.
        """
        if self._fresh:
            return Leased({}, list(keys), [])
        known = self.get(keys)
        if len(known) == len(keys):
            return Leased(known, [], [])
        with self._writing():
            known |= self.get([key for key in keys if key not in known])  # what was put there a moment ago
            missing = [key for key in keys if key not in known]
            wanted = list(keys) if whole and missing else missing
            held = self._leases.others(wanted)
            if whole and held:
                return Leased({}, [], list(keys))
            mine = [key for key in wanted if key not in held]
            if mine:
                self._leases.take(mine)
        return Leased({} if whole and mine else known, mine, [key for key in missing if key in held])

    def take_over(self, groups: Iterable[Sequence[bytes]]) -> None:
        """Take leases over from processes that live and do nothing."""
        with self._writing():
            for keys in groups:
                self._leases.take(keys)

    def release(self) -> None:
        """Give back this process's leases: what it has put into the store is known, what it has not is free."""
        if not self._fresh:
            with self._writing():
                self._leases.release()

    def count(self, kind: Kind) -> int:
        """Return how many values of ``kind`` are remembered."""
        try:
            (number,) = self._db.execute("SELECT COUNT(*) FROM memory WHERE kind = ?", (kind,)).fetchone()
        except sqlite3.Error as error:
            raise self._failed(error) from None
        return int(number)

    def close(self) -> None:
        """Close the database; leases end with it."""
        self._leases.end()
        self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Run the block in one transaction: all of it is kept, or nothing."""
        try:
            with self._transaction():
                yield
        except sqlite3.Error as error:
            raise self._failed(error) from None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # a full disk has rolled back already
                self._db.execute("ROLLBACK")
            raise

    def _failed(self, error: sqlite3.Error | str) -> ArenaError:
        text = "a value in it is no JSON" if "Could not decode" in str(error) else str(error)
        hint = {
            "database or disk is full": "free some disk space and run again: what was answered so far is kept",
            "file is not a database": _ANEW,
            "database disk image is malformed": _ANEW,
            "a value in it is no JSON": _ANEW,
            "database is locked": "another process has held it for a minute: wait for it, or end it",
        }.get(text, "")
        return ArenaError(f"the store failed: {text}", where=str(self._path), hint=hint)


def _parsed(rows: Sequence[tuple[bytes, str]]) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Parse the values of all rows at once: that takes half of what one by one does."""
    values = json.loads(f"[{','.join(value for _, value in rows)}]")
    return zip((key for key, _ in rows), values, strict=True)
