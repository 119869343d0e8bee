"""The store of responses and games: content-addressed, crash-safe, shared by all stages.

A key is the hash of everything that could change the value; a value is JSON. SQLite in WAL mode lets several processes
read and write. Each batch is one transaction, so a crash loses at most the batch in flight. Failures are never stored.
A process leases keys (`leases`) before it requests their values, so that no other process requests them too.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple

from arena_learning.core import ArenaError, canonical
from arena_learning.schema import SCHEMA_VERSION
from arena_learning.store import layout as store_layout
from arena_learning.store import leases, spending
from arena_learning.store.database import CHUNK, connect, failure, make_folder, transaction

Kind = Literal["response", "game"]


def store_key(kind: Kind, parts: Mapping[str, Any]) -> bytes:
    """Return the 32-byte key of ``parts``: equal parts give equal keys in any process.

    Example:
        >>> store_key("response", {"engine": "x", "seed": 0}) == store_key("response", {"seed": 0, "engine": "x"})
        True
    """
    whole = {"kind": kind, "schema": SCHEMA_VERSION, **parts}
    return hashlib.sha256(canonical(whole).encode()).digest()


class Leased(NamedTuple):
    """Some keys, sorted into ``known`` (with values), ``mine`` (leased to this process) and ``theirs`` (to another)."""

    known: dict[bytes, dict[str, Any]]
    mine: list[bytes]
    theirs: list[bytes]


class Store:
    """A store at ``path``, created if missing; a context manager.

    Args:
        path: the database file.
        fresh: look nothing up, so that everything is requested again; new values are still saved.
        account: for what values are requested, and what they may cost; by default that of a user's own program.

    Raises:
        ArenaError: the file is not a store, stays locked for a minute, or the disk is full.

    Example:
        >>> import tempfile
        >>> key = store_key("response", {"contestant": "expert", "instruction": "q1"})
        >>> with Store(Path(tempfile.mkdtemp()) / "store.sqlite") as store:
        ...     store.put("response", {key: {"text": "Blue."}})
        ...     store.get([key])[key]
        {'text': 'Blue.'}
    """

    def __init__(self, path: Path, *, fresh: bool = False, account: spending.Account | None = None) -> None:
        self._path, self._fresh = path, fresh
        self.account = account or spending.Account("python")
        make_folder(path, "the store")
        try:
            self._db = connect(path)
            self._db.execute(store_layout.SCHEMA)
            self._db.execute(leases.SCHEMA)
            self._db.execute(spending.SCHEMA)
            store_layout.migrate(self._db, path, partial(transaction, self._db))
            self._leases = leases.Leases(self._db, path.with_name(f"{path.name}.holders"), CHUNK)
        except sqlite3.Error as error:
            raise self._failed(error) from None

    def get(self, keys: Sequence[bytes]) -> dict[bytes, dict[str, Any]]:
        """Return the stored values of ``keys``; keys without a value are left out."""
        found: dict[bytes, dict[str, Any]] = {}
        if self._fresh:
            return found
        try:
            for start in range(0, len(keys), CHUNK):
                chunk = keys[start : start + CHUNK]
                marks = ",".join("?" * len(chunk))
                rows = self._db.execute(f"SELECT key, value FROM memory WHERE key IN ({marks})", chunk)
                found.update(_parsed(rows.fetchall()))
        except sqlite3.Error as error:
            raise self._failed(error) from None
        except ValueError:
            raise self._failed("a value in it is not JSON") from None
        return found

    def holds(self, keys: Sequence[bytes]) -> set[bytes]:
        """Return those of ``keys`` that have a value, without reading it; a fresh store finds nothing."""
        found: set[bytes] = set()
        if self._fresh:
            return found
        with self._reading():
            for start in range(0, len(keys), CHUNK):
                chunk = keys[start : start + CHUNK]
                marks = ",".join("?" * len(chunk))
                rows = self._db.execute(f"SELECT key FROM memory WHERE key IN ({marks})", chunk)
                found.update(key for (key,) in rows)
        return found

    def put(
        self,
        kind: Kind,
        items: Mapping[bytes, Mapping[str, Any]],
        *,
        payer: spending.Payer | None = None,
        spent: spending.Spent | None = None,
    ) -> None:
        """Save ``items``, and what ``payer`` spent on them, in one transaction; a new value replaces an old one."""
        rows = [(key, kind, canonical(value)) for key, value in items.items()]
        with self._writing():
            self._db.executemany("INSERT OR REPLACE INTO memory (key, kind, value) VALUES (?, ?, ?)", rows)
            if payer and spent:
                spending.add(self._db, self.account, payer, spent)

    def adopt(self, older: Mapping[bytes, bytes]) -> None:
        """Copy values from older keys to current keys that have no value yet.

        Args:
            older: for each current key, the key that an earlier version of this project used for the same thing.
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
        """Delete the values of ``keys``, so that they are requested again."""
        with self._writing():
            self._db.executemany("DELETE FROM memory WHERE key = ?", [(key,) for key in keys])

    def lease(self, keys: Sequence[bytes], *, whole: bool = False) -> Leased:
        """Look up ``keys`` and lease those without a value that no other running process has leased, in one step.

        A fresh store finds nothing and leases nothing: all keys are returned as ``mine``.

        Args:
            keys: distinct keys.
            whole: if any value is missing, lease all keys, or none if another process has leased one of them.
        """
        if self._fresh:
            return Leased({}, list(keys), [])
        known = self.get(keys)
        if len(known) == len(keys):
            return Leased(known, [], [])
        with self._writing():
            known |= self.get(
                [key for key in keys if key not in known]
            )  # values saved since the first look-up
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
        """Take over leases from processes that are running but make no progress."""
        with self._writing():
            for keys in groups:
                self._leases.take(keys)

    def release(self) -> None:
        """Release this process's leases: keys it saved have values now, the others are free."""
        if not self._fresh:
            with self._writing():
                self._leases.release()

    def count(self, kind: Kind) -> int:
        """Return the number of stored values of ``kind``."""
        with self._reading():
            (number,) = self._db.execute("SELECT COUNT(*) FROM memory WHERE kind = ?", (kind,)).fetchone()
        return int(number)

    def spending_rows(self) -> list[spending.Spending]:
        """Return what was spent, a row for each run of a stage and each contestant or judge, the oldest first."""
        with self._reading():
            return spending.read(self._db)

    def earlier(self) -> list[spending.Earlier]:
        """Return what the store holds from before spending was counted, by kind."""
        with self._reading():
            return spending.read_earlier(self._db)

    def spent(self) -> dict[str, float]:
        """Return the known ``money`` and the ``tokens`` that were spent so far, in all runs.

        What was spent before a model had its price counts at that of the account.
        """
        with self._reading():
            return spending.total_spent(self._db, self.account.prices)

    def mean_spent(self, payer: spending.Payer, what: str) -> tuple[int, float | None]:
        """Return how much a payer has made since this store was opened, and their mean ``money`` or ``tokens``."""
        with self._reading():
            return spending.mean(self._db, self.account, payer, what)

    def close(self) -> None:
        """Close the database and end all its leases; nothing of the budget is held any more."""
        self.account.together.free(self)
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
        """Run the block in one transaction: all of it is saved, or nothing."""
        try:
            with transaction(self._db):
                yield
        except sqlite3.Error as error:
            raise self._failed(error) from None

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._failed(error) from None

    def _failed(self, error: sqlite3.Error | str) -> ArenaError:
        here = shlex.quote(str(self._path))
        anew = f"move the file away (`mv {here} {here}.damaged`): a new one is created, and answers are requested again"
        return failure("the store", self._path, error, kept="stored answers are kept", anew=anew)


def _parsed(rows: Sequence[tuple[bytes, str]]) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Parse the values of all rows at once, which takes half the time of parsing them one by one."""
    values = json.loads(f"[{','.join(value for _, value in rows)}]")
    return zip((key for key, _ in rows), values, strict=True)
