"""Opens SQLite files that several processes read and write, and says how to fix what fails."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from arena_learning.core import ArenaError

_PATIENCE_SECONDS = 60.0
_SETTINGS = (
    # Do not wait for the disk at each batch: in WAL mode a killed process still loses nothing, and a power failure
    # only the last batches.
    "synchronous=NORMAL",
    # Some builds of SQLite overwrite freed pages with zeros through the log: dropping a table of 0.9 GB then needs
    # 0.9 GB of log. Deleted values are not confidential.
    "secure_delete=OFF",
)
CHUNK = 500  # older versions of SQLite allow 999 variables per statement


def connect(path: Path) -> sqlite3.Connection:
    """Open the database at ``path``, created if missing, with a write-ahead log and without implicit transactions.

    Raises:
        sqlite3.Error: the file is no database, or stays locked for a minute.
    """
    db = sqlite3.connect(path, timeout=_PATIENCE_SECONDS, isolation_level=None)
    try:
        _to_wal(db)
        for setting in _SETTINGS:
            db.execute(f"PRAGMA {setting}")
    except sqlite3.Error:
        db.close()
        raise
    return db


def _to_wal(db: sqlite3.Connection) -> None:
    """Turn write-ahead logging on, with retries: for a new file SQLite does not wait for another process here."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            db.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.02)


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Run the block in one write transaction: all of it is saved, or nothing."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # SQLite rolls back by itself when the disk is full
            db.execute("ROLLBACK")
        raise


def make_folder(path: Path, what: str) -> None:
    """Make the folder of the file ``path``; ``what`` names it in the error.

    Raises:
        ArenaError: it cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArenaError(f"cannot create the folder of {what}: {error.strerror}", where=str(path)) from None


def failure(what: str, path: Path, error: sqlite3.Error | str, *, kept: str, anew: str) -> ArenaError:
    """Return the error that tells a user of a failed database.

    Args:
        what: which database, as in "the store".
        path: its file.
        error: what failed.
        kept: what a full disk does not lose.
        anew: how to go on from a damaged file.
    """
    text = "a value in it is not JSON" if "Could not decode" in str(error) else str(error)
    hint = {
        "database or disk is full": f"free some disk space (`arena clean` shows what can go) and run again: {kept}",
        "file is not a database": anew,
        "database disk image is malformed": anew,
        "a value in it is not JSON": anew,
        "database is locked": "another process has locked it for a minute: wait until it finishes, or end it",
    }.get(text, "")
    return ArenaError(f"{what} failed: {text}", where=str(path), hint=hint)
