"""How the store's table lies in its file, and how one that an older version has made is laid out anew.

Older versions kept rows in their key's own tree (``WITHOUT ROWID``): it holds large values inside itself, so that each
write moves much and a file takes twice its content. Rows now lie in a plain table with an index on the key. The names
of table and columns are the same, so that every version reads and writes both.

The old table is copied part by part, each in a transaction of its own, and the copy takes its place in the last one.
All along the old table holds everything, and a trigger gives the copy what is put into rows that were copied before,
whichever version puts it there. So nothing is lost where the process is killed or the disk is full: the next one to
open the store goes on. Several do the work together, and between two parts others read and write.
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

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
# Rows are copied in the order of their keys: the last key in the copy says how far it is. Two rows are the least that
# goes on, for the first is that last key again.
_PART = """
INSERT OR IGNORE INTO memory_copy SELECT key, kind, value, created FROM memory
WHERE key >= (SELECT COALESCE(MAX(key), x'') FROM memory_copy) ORDER BY key LIMIT 1000
"""
_REST = 0.25  # of a part's time, until the next: SQLite's waiting is no queue, and others would find no gap
_QUIET_SECONDS = 1.0  # what takes longer is told
_ROOM = 16 * 2**20  # bytes of the log, beside what is copied

Writing = Callable[[], AbstractContextManager[None]]


def migrate(db: sqlite3.Connection, path: Path, writing: Writing) -> None:
    """Lay an older store's table out anew, once; a store of today is left alone.

    Where the disk has no room for the copy the store stays as it is, and a line on standard error says so.

    Args:
        db: the store's connection, outside of a transaction.
        path: its file.
        writing: runs its block in one write transaction of ``db``.

    Raises:
        sqlite3.Error: the file is damaged, or another process holds it for long.
    """
    if not _is_old(db):
        return
    size = _used(db)
    if not _has_room(path, size, "it stays in an older layout, which is slower and takes more room"):
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
    """Copy part by part, and let the copy take the table's place; whether it was this process that ended it."""
    start, begun, said, going_on = time.monotonic(), None, False, True
    while going_on:
        part = time.monotonic()
        with writing():
            if not _is_old(db):  # another process has finished meanwhile
                return False
            db.execute(_COPY)  # here, for another may have stopped
            db.execute(_KEEP_UP)
            begun = _share(db) if begun is None else begun
            going_on = db.execute(_PART).rowcount > 0
            done = _share(db)
            if not going_on:
                db.execute("DROP TABLE memory")  # and its trigger with it
                db.execute("ALTER TABLE memory_copy RENAME TO memory")
        spent = time.monotonic() - start
        # The file is made smaller afterwards, which takes about as long.
        whole = 2 * spent * (1 - begun) / max(done - begun, 1e-3)
        if not said and going_on and spent > _QUIET_SECONDS / 4 and whole > _QUIET_SECONDS:
            said = True
            _say(
                path,
                f"laid out anew, once, to be faster and smaller: about {whole:.0f} s; it may be interrupted",
            )
        time.sleep(_REST * (time.monotonic() - part))
    return True


def _share(db: sqlite3.Connection) -> float:
    """Return which part of the rows is copied: keys are hashes, so the last one tells."""
    (last,) = db.execute("SELECT MAX(key) FROM memory_copy").fetchone()
    return int.from_bytes(bytes(last)[:8].ljust(8, b"\0"), "big") / 2**64 if last else 0.0


def _abandon(db: sqlite3.Connection, path: Path, writing: Writing) -> None:
    """Take the half-made copy away again: its room is the store's then."""
    left = "it stays in an older layout, which is slower"
    try:
        with writing():
            if _is_old(db):
                db.execute("DROP TRIGGER IF EXISTS memory_copied")
                db.execute("DROP TABLE IF EXISTS memory_copy")
    except sqlite3.OperationalError as error:
        if not _no_room(error):
            raise
        left += ", and the half-made copy is finished when there is room"
    _truncate_log(db)
    _say(path, f"the disk is full, and the store could not be laid out anew: {left}; nothing is lost")


def _shrink(db: sqlite3.Connection, path: Path) -> None:
    """Give the old table's pages back to the disk."""
    if not _has_room(path, 2 * _used(db), "the file keeps its size, and later answers fill it"):
        return
    try:
        db.execute("VACUUM")
    except sqlite3.OperationalError as error:
        _say(
            path,
            f"the file could not be made smaller ({error}): it keeps its size, and later answers fill it",
        )
    _truncate_log(db)


def _truncate_log(db: sqlite3.Connection) -> None:
    """Write the log into the file and cut it off; readers or a full disk may put that off, and nothing hangs on it."""
    try:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.OperationalError as error:
        if not _no_room(error):
            raise


def _used(db: sqlite3.Connection) -> int:
    """Return the bytes of the file's pages that hold something."""
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
        f"to be laid out anew takes {(size + _ROOM) / 2**20:,.0f} MiB, {free / 2**20:,.0f} are free: {otherwise}",
    )
    return False


def _no_room(error: sqlite3.OperationalError) -> bool:
    """Whether the disk was full: a quota or a limit on a file's size comes as an error of writing."""
    code = error.sqlite_errorcode
    return code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)


def _say(path: Path, what: str) -> None:
    sys.stderr.write(f"{path}: {what}\n")
    sys.stderr.flush()
