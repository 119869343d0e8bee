"""The layout of the store's table, and the migration of stores from older versions.

Older versions used a table ``WITHOUT ROWID``. Its B-tree contains the large values, so each write moves much data and
the file takes twice its content. The current layout is a plain table with an index on the key. Table and columns have
the same names, so every version can read and write both layouts.

The migration copies the old table in parts, each in its own transaction; in the last one the copy replaces the old
table. Until then the old table stays complete, and a trigger copies new values of rows that were already copied. So
nothing is lost if the process is killed or the disk is full: the next process that opens the store continues. Several
processes may migrate together, and others can read and write between two parts.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from arena_learning.core import logger

_COLUMNS = """(
    key BLOB PRIMARY KEY NOT NULL, kind TEXT NOT NULL, value TEXT NOT NULL,
    created TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
)"""
SCHEMA = f"CREATE TABLE IF NOT EXISTS memory {_COLUMNS}"
_COPY = f"CREATE TABLE IF NOT EXISTS memory_copy {_COLUMNS}"
_KEEP_UP = """
CREATE TRIGGER IF NOT EXISTS memory_copied AFTER INSERT ON memory WHEN new.key <= (SELECT MAX(key) FROM memory_copy)
BEGIN INSERT OR REPLACE INTO memory_copy VALUES (new.key, new.kind, new.value, new.created); END
"""
# Rows are copied in key order, so the last key of the copy shows the progress. Each part starts with that key again,
# so the limit must be at least 2.
_PART = """
INSERT OR IGNORE INTO memory_copy SELECT key, kind, value, created FROM memory
WHERE key >= (SELECT COALESCE(MAX(key), x'') FROM memory_copy) ORDER BY key LIMIT 1000
"""
_REST = (
    0.25  # pause between parts, as a share of a part's time: SQLite's locks are not fair, others need a gap
)
_QUIET_SECONDS = 1.0  # a longer migration is announced
_ROOM = 16 * 2**20  # free bytes for the log, besides those for the copy

Writing = Callable[[], AbstractContextManager[None]]


def migrate(db: sqlite3.Connection, path: Path, writing: Writing) -> None:
    """Migrate an older store to the current layout; a current store is left unchanged.

    If the disk has no space for the copy, the store keeps its layout, and a line on standard error reports it.

    Args:
        db: the store's connection, outside a transaction.
        path: the store's file.
        writing: runs its block in one write transaction of ``db``.

    Raises:
        sqlite3.Error: the file is damaged, or another process keeps it locked.
    """
    if not _is_old(db):
        return
    size = _used(db)
    if not _has_room(path, size, "the store keeps its older layout, which is slower and larger"):
        return
    try:
        if _copy(db, path, writing):
            _shrink(db, path)
    except sqlite3.OperationalError as error:
        if not _no_room(error):
            raise
        _abandon(db, path, writing)


def _is_old(db: sqlite3.Connection) -> bool:
    found = db.execute("SELECT sql FROM sqlite_master WHERE name = 'memory'").fetchone()
    return found is not None and "WITHOUT ROWID" in found[0].upper()


def _copy(db: sqlite3.Connection, path: Path, writing: Writing) -> bool:
    """Copy the table in parts and replace it by the copy; return whether this process did the last step."""
    start, begun, said, going_on = time.monotonic(), None, False, True
    while going_on:
        part = time.monotonic()
        with writing():
            if not _is_old(db):  # another process has finished meanwhile
                return False
            db.execute(_COPY)  # in each part, because another process may have abandoned the copy
            db.execute(_KEEP_UP)
            begun = _share(db) if begun is None else begun
            going_on = db.execute(_PART).rowcount > 0
            done = _share(db)
            if not going_on:
                db.execute("DROP TABLE memory")  # drops its trigger too
                db.execute("ALTER TABLE memory_copy RENAME TO memory")
        spent = time.monotonic() - start
        # Shrinking the file afterwards takes about as long.
        whole = 2 * spent * (1 - begun) / max(done - begun, 1e-3)
        if not said and going_on and spent > _QUIET_SECONDS / 4 and whole > _QUIET_SECONDS:
            said = True
            _say(
                path,
                f"one-time migration to a faster and smaller layout: about {whole:.0f} s; it may be interrupted",
            )
        time.sleep(_REST * (time.monotonic() - part))
    return True


def _share(db: sqlite3.Connection) -> float:
    """Return the copied share of the rows, from the last key: keys are hashes and so uniformly distributed."""
    (last,) = db.execute("SELECT MAX(key) FROM memory_copy").fetchone()
    return int.from_bytes(bytes(last)[:8].ljust(8, b"\0"), "big") / 2**64 if last else 0.0


def _abandon(db: sqlite3.Connection, path: Path, writing: Writing) -> None:
    """Drop the unfinished copy, so that the store can use its space."""
    left = "the store keeps its older layout, which is slower"
    try:
        with writing():
            if _is_old(db):
                db.execute("DROP TRIGGER IF EXISTS memory_copied")
                db.execute("DROP TABLE IF EXISTS memory_copy")
    except sqlite3.OperationalError as error:
        if not _no_room(error):
            raise
        left += ", and the migration continues when there is space"
    _truncate_log(db)
    _say(path, f"the disk is full, so the store could not be migrated: {left}; nothing is lost")


def _shrink(db: sqlite3.Connection, path: Path) -> None:
    """Shrink the file by the old table's pages."""
    if not _has_room(path, 2 * _used(db), "the file keeps its size, and later answers fill it"):
        return
    try:
        db.execute("VACUUM")
    except sqlite3.OperationalError as error:
        _say(
            path,
            f"the file could not be shrunk ({error}): it keeps its size, and later answers fill it",
        )
    _truncate_log(db)


def _truncate_log(db: sqlite3.Connection) -> None:
    """Write the log into the file and truncate it; readers or a full disk may delay that, which does no harm."""
    try:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.OperationalError as error:
        if not _no_room(error):
            raise


def _used(db: sqlite3.Connection) -> int:
    """Return the size of the file's used pages in bytes."""
    pages, free, size = (
        db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _has_room(path: Path, size: int, otherwise: str) -> bool:
    free = shutil.disk_usage(path.parent).free
    if free >= size + _ROOM:
        return True
    _say(
        path,
        f"migrating it needs {(size + _ROOM) / 2**20:,.0f} MiB, {free / 2**20:,.0f} MiB are free: {otherwise}",
    )
    return False


def _no_room(error: sqlite3.OperationalError) -> bool:
    """Whether the disk was full (SQLite reports a quota or a file size limit as a write error)."""
    code = error.sqlite_errorcode
    return code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)


def _say(path: Path, what: str) -> None:
    logger.info(f"{path}: {what}")
