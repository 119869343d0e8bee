"""Stores in the layout of older versions, and how to look into any."""

from __future__ import annotations

import json
import sqlite3
from contextlib import contextmanager
from hashlib import sha256

from arena_learning.store import layout as store_layout
from arena_learning.store.store import Store

# As versions up to 0.1.0 made and used it.
OLD_TABLE = """
CREATE TABLE IF NOT EXISTS memory (
    key BLOB PRIMARY KEY, kind TEXT NOT NULL, value TEXT NOT NULL, created TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) WITHOUT ROWID
"""
OLD_PUT = "INSERT OR REPLACE INTO memory (key, kind, value) VALUES (?, ?, ?)"


def key(number) -> bytes:
    return sha256(str(number).encode()).digest()


def value(number) -> dict[str, object]:
    return {"n": number, "text": f"ü\x00{{{number}}} " + "word " * 200}


def make_old(path, rows):
    """Make a store as an older version did, with rows from before today."""
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute(OLD_TABLE)
    content = sorted((key(n), "game", json.dumps(value(n))) for n in range(rows))
    db.executemany("INSERT INTO memory VALUES (?, ?, ?, '2026-11-24 00:00:00')", content)
    db.commit()
    db.close()
    return path


@contextmanager
def plain(path):
    db = sqlite3.connect(path, timeout=60, isolation_level=None)
    yield db
    db.close()


def names(path):
    with plain(path) as db:
        return {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE sql IS NOT NULL")}


def is_old(path):
    with plain(path) as db:
        return store_layout._is_old(db)


def check(path, rows):
    """The store is laid out as today and holds all rows, with the time at which each was first put."""
    with Store(path) as store:
        found = store.get([key(n) for n in range(rows)])
        assert found == {key(n): value(n) for n in range(rows)}
        assert store._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with plain(path) as db:
        assert not store_layout._is_old(db)
        assert db.execute("SELECT DISTINCT created FROM memory").fetchall() == [("2026-11-24 00:00:00",)]
    assert names(path) == {"memory", "claims", "spending"}
