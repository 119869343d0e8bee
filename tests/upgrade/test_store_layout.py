"""A store that an older version has made is laid out anew on opening, and holds what it held."""

from __future__ import annotations

import json
import random

import pytest
from old_layout import OLD_PUT, OLD_TABLE, check, is_old, key, names, plain, value

from arena_learning.core.errors import ArenaError
from arena_learning.store import layout as store_layout
from arena_learning.store.store import Store


@pytest.mark.parametrize("rows", [0, 1, 2, 999, 1000, 1001, 2500])
def test_an_old_store_is_laid_out_anew_on_opening_without_a_word(old, rows, capsys, monkeypatch):
    monkeypatch.setattr(store_layout, "_QUIET_SECONDS", 60.0)  # a busy machine is no failure
    path = old(rows)
    size = path.stat().st_size
    if rows:
        check(path, rows)
        assert path.stat().st_size < size or rows < 10
    else:
        Store(path).close()
        assert not is_old(path)
    assert capsys.readouterr().err == ""


def test_a_fresh_store_and_claims_of_an_old_one_are_no_exception(old):
    path = old(100)
    with plain(path) as db:
        db.execute("CREATE TABLE claims (key BLOB PRIMARY KEY, holder TEXT NOT NULL) WITHOUT ROWID")
        db.execute("INSERT INTO claims VALUES (?, 'somebody dead')", (key("new"),))
    with Store(path, fresh=True) as store:
        assert store.get([key(1)]) == {}
        assert store._db.execute("SELECT COUNT(*) FROM claims").fetchone() == (1,)
    check(path, 100)


def test_an_older_version_reads_and_writes_a_store_of_today(tmp_path):
    with Store(tmp_path / "s.sqlite") as store:
        store.put("game", {key(1): {"n": 1}, key(2): {"n": 2}})
        with plain(tmp_path / "s.sqlite") as db:
            db.execute(OLD_TABLE)
            db.execute(OLD_PUT, (key(2), "game", '{"n":3}'))
            db.execute(OLD_PUT, (key(4), "game", '{"n":4}'))
            assert len(db.execute("SELECT key, value FROM memory").fetchall()) == 3
        assert store.get([key(n) for n in range(5)]) == {key(1): {"n": 1}, key(2): {"n": 3}, key(4): {"n": 4}}


def test_what_is_put_while_the_store_is_laid_out_anew_is_kept(old, monkeypatch):
    """After each part another process of an older version puts new rows and replaces known ones on both sides of it."""
    path, put = old(3000), {}
    whole = store_layout._share

    def meanwhile(db):
        share = whole(db)
        if db.in_transaction:
            return share
        raise AssertionError("the copy is looked at inside its transaction")

    def between(seconds):
        with plain(path) as other:
            for n in (*draw.sample(range(3000), 20), *(f"new {draw.random()}" for _ in range(20))):
                put[key(n)] = {"put": draw.random()}
                other.execute(OLD_PUT, (key(n), "response", json.dumps(put[key(n)])))

    draw = random.Random(3)
    monkeypatch.setattr(store_layout, "_share", meanwhile)
    monkeypatch.setattr(store_layout.time, "sleep", between)
    with Store(path) as store:
        monkeypatch.undo()
        assert len(put) > 100
        expected = {key(n): value(n) for n in range(3000)} | put
        assert store.get(list(expected)) == expected
        assert store.count("response") == len(put)
    assert not is_old(path)


def test_a_copy_that_another_process_gives_up_is_begun_again(old, monkeypatch):
    path = old(3000)

    def give_up(seconds):
        with plain(path) as other:
            other.execute("DROP TRIGGER memory_copied")
            other.execute("DROP TABLE memory_copy")
        monkeypatch.undo()

    monkeypatch.setattr(store_layout.time, "sleep", give_up)
    check(path, 3000)


def test_a_half_made_copy_is_finished(old, monkeypatch):
    path = old(5000)

    def stop(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(store_layout.time, "sleep", stop)
    with pytest.raises(KeyboardInterrupt):
        Store(path)
    assert names(path) == {"memory", "claims", "spending", "memory_copy", "memory_copied"}
    monkeypatch.undo()
    check(path, 5000)


def test_what_takes_long_is_told_in_one_line(old, monkeypatch, capsys):
    path = old(5000)
    monkeypatch.setattr(store_layout, "_QUIET_SECONDS", 0.0)
    Store(path).close()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{path}: one-time migration")
    Store(path).close()
    assert capsys.readouterr().err == ""


def test_a_store_of_today_is_not_touched_and_a_damaged_old_one_says_how_to_mend_it(old, tmp_path):
    with Store(tmp_path / "new.sqlite") as store:
        store.put("game", {key(n): value(n) for n in range(50)})
    before = (tmp_path / "new.sqlite").read_bytes()
    Store(tmp_path / "new.sqlite").close()
    assert (tmp_path / "new.sqlite").read_bytes() == before
    path = old(500)
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + random.Random(1).randbytes(len(whole) - 8192))
    with pytest.raises(ArenaError, match="move the file away"):
        Store(path)
