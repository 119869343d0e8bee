from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena_learning.core.errors import ArenaError
from arena_learning.store.store import Store, store_key

WRITER = """
import sys
from pathlib import Path
from arena_learning.store.store import Store, store_key
name, path = sys.argv[1], Path(sys.argv[2])
with Store(path) as store:
    print("ready", flush=True)
    for batch in range(50):
        items = {store_key("game", {"w": name, "b": batch, "n": n}): {"w": name} for n in range(20)}
        store.put("game", items | {store_key("game", {"shared": batch}): {"w": "either"}})
"""

CRASHER = """
import os, signal, sys
from pathlib import Path
from arena_learning.store.store import Store, store_key
with Store(Path(sys.argv[1])) as store:
    store.put("game", {store_key("game", {"n": n}): {"n": n} for n in range(10)})
    store._db.execute("BEGIN IMMEDIATE")
    for n in range(10, 20):
        store._db.execute("INSERT INTO memory (key, kind, value) VALUES (?, 'game', '{}')",
                          (store_key("game", {"n": n}),))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def key(number) -> bytes:
    return store_key("response", {"n": number})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "store.sqlite"


def test_what_was_put_is_found_again_by_another_store(path):
    with Store(path) as store:
        store.put("response", {key(1): {"text": "ü\x00{{}}"}, key(2): {"text": ""}})
    with Store(path) as store:
        assert store.get([key(1), key(2), key(3)]) == {key(1): {"text": "ü\x00{{}}"}, key(2): {"text": ""}}
        assert store.count("response") == 2
        assert store.count("game") == 0


def test_putting_again_replaces(path):
    with Store(path) as store:
        store.put("response", {key(1): {"n": 1}})
        store.put("response", {key(1): {"n": 2}})
        assert store.get([key(1)]) == {key(1): {"n": 2}}
        assert store.count("response") == 1


def test_fresh_finds_nothing_and_keeps_what_is_paid_again(path):
    with Store(path) as store:
        store.put("response", {key(1): {"n": 1}})
    with Store(path, fresh=True) as store:
        assert store.get([key(1)]) == {}
        store.put("response", {key(1): {"n": 2}})
    with Store(path) as store:
        assert store.get([key(1)]) == {key(1): {"n": 2}}


def test_twenty_thousand_keys_are_looked_up_in_one_call(path):
    keys = [key(n) for n in range(20_000)]
    with Store(path) as store:
        store.put("response", {k: {"n": n} for n, k in enumerate(keys)})
        found = store.get([*keys, *keys[:5], key("unknown")])
    assert len(found) == 20_000
    assert found[keys[17]] == {"n": 17}


def test_a_batch_is_kept_whole_or_not_at_all(path):
    with Store(path) as store:
        with pytest.raises(ValueError, match="JSON"):
            store.put("response", {key(1): {"n": 1}, key(2): {"n": float("nan")}})
        assert store.get([key(1), key(2)]) == {}


def test_two_processes_write_at_once(path):
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, name, str(path)], stdout=subprocess.PIPE)
        for name in "ab"
    ]
    for writer in writers:
        writer.communicate(timeout=120)
        assert writer.returncode == 0
    with Store(path) as store:
        assert store.count("game") == 2 * 50 * 20 + 50


def test_a_kill_in_mid_write_leaves_the_earlier_batches(path):
    done = subprocess.run([sys.executable, "-c", CRASHER, str(path)], timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    with Store(path) as store:
        keys = [store_key("game", {"n": n}) for n in range(20)]
        assert set(store.get(keys)) == set(keys[:10])
        store.put("game", {keys[10]: {"n": 10}})


@pytest.mark.parametrize("rubbish", [b"not a database at all" * 100, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_file_that_is_no_store_says_how_to_mend_it(path, rubbish):
    path.parent.mkdir()
    path.write_bytes(rubbish)
    with pytest.raises(ArenaError, match="move the file away") as caught:
        Store(path)
    assert caught.value.where == str(path)
    assert path.read_bytes() == rubbish


def test_a_store_damaged_inside_says_how_to_mend_it(path):
    with Store(path) as store:
        store.put("response", {key(n): {"text": "x" * 500} for n in range(200)})
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + os.urandom(len(whole) - 4096))
    with Store(path) as store, pytest.raises(ArenaError, match="move the file away"):
        store.get([key(n) for n in range(200)])


@pytest.mark.parametrize("damage", ["substr(value, 3)", "CAST(x'7bff7d' AS TEXT)", "value || ',{}'"])
def test_a_value_that_is_damaged_says_how_to_mend_it(path, damage):
    with Store(path) as store:
        store.put("response", {key(n): {"n": n} for n in range(3)})
        store._db.execute(f"UPDATE memory SET value = {damage} WHERE key = ?", (key(1),))
        assert store.get([key(0), key(2)]) == {key(0): {"n": 0}, key(2): {"n": 2}}
        with pytest.raises(ArenaError, match="a value in it is not JSON") as caught:
            store.get([key(n) for n in range(3)])
        assert "move the file away" in caught.value.hint


def test_a_full_disk_is_told_and_what_was_kept_stays(path):
    with Store(path) as store:
        store.put("response", {key(1): {"n": 1}})
        (pages,) = store._db.execute("PRAGMA page_count").fetchone()
        store._db.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(ArenaError, match="database or disk is full") as caught:
            store.put("response", {key(n): {"text": "x" * 1000} for n in range(2, 500)})
        assert "free some disk space" in caught.value.hint
        assert store.count("response") == 1
        store._db.execute(f"PRAGMA max_page_count = {pages + 1000}")
        store.put("response", {key(2): {"n": 2}})
        assert store.count("response") == 2


def test_a_store_without_its_table_is_an_error_that_can_be_read(path):
    with Store(path) as store:
        store._db.execute("DROP TABLE memory")
        for use in (
            lambda: store.get([key(1)]),
            lambda: store.count("game"),
            lambda: store.put("game", {key(1): {}}),
        ):
            with pytest.raises(ArenaError, match="no such table"):
                use()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ArenaError) as caught:
        Store(tmp_path / "file" / "store.sqlite")
    assert "file" in caught.value.where


def test_the_database_is_in_wal_mode(path):
    with Store(path):
        db = sqlite3.connect(path)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        db.close()


def test_keys_depend_on_kind_and_content_and_not_on_order():
    assert store_key("game", {"a": 1, "b": [2]}) == store_key("game", {"b": [2], "a": 1})
    assert store_key("game", {"a": 1}) != store_key("response", {"a": 1})
    assert store_key("game", {"a": ["x", "yz"]}) != store_key("game", {"a": ["xy", "z"]})
    # The same in every process and on every machine: this one was written down.
    assert store_key("game", {"a": 1}).hex().startswith("d709e6a6698cfc9d")


parts = st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.text()), max_size=3)


@given(parts, parts)
def test_different_parts_have_different_keys(one, two):
    assert (store_key("game", one) == store_key("game", two)) == (one == two)
