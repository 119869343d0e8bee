from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest

from arena_learning.core.errors import ArenaError
from arena_learning.store.vectors import VectorStore

WRITER = """
import sys
from pathlib import Path
import numpy as np
from arena_learning.store.vectors import VectorStore
name, vectors = int(sys.argv[1]), VectorStore(Path(sys.argv[2]), "model")
for batch in range(40):
    own = {f"{name} {batch} {n}": np.full(384, name, dtype=np.float32) for n in range(20)}
    vectors.put(own | {f"shared {batch}": np.full(384, name, dtype=np.float32)})
    assert len(vectors.get(list(own))) == 20
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "vectors.sqlite"


def vector(seed):
    return np.random.default_rng(seed).standard_normal(384).astype(np.float32)


def change(path, statement, values=()):
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(statement, values)


def test_the_same_bits_come_back_in_another_object(path):
    odd = np.array([-0.0, 1e-45, 0.1, np.float32(1) / 3], dtype=np.float32)
    VectorStore(path, "model").put({"ü\x00\ud800": odd, "": vector(1)})
    found = VectorStore(path, "model").get(["ü\x00\ud800", "", "unknown"])
    assert set(found) == {"ü\x00\ud800", ""}
    assert found["ü\x00\ud800"].tobytes() == odd.tobytes()
    assert found[""].tobytes() == vector(1).tobytes()


def test_a_look_up_makes_no_file(path):
    assert VectorStore(path, "model").get(["a"]) == {}
    assert not path.parent.exists()


def test_another_model_has_vectors_of_its_own(path):
    VectorStore(path, "model").put({"a": vector(1)})
    assert VectorStore(path, "another").get(["a"]) == {}


def test_the_first_vector_of_a_text_stays(path):
    vectors = VectorStore(path, "model")
    vectors.put({"a": vector(1)})
    vectors.put({"a": vector(2)})
    assert vectors.get(["a"])["a"].tobytes() == vector(1).tobytes()


def test_beyond_the_bound_the_oldest_go(path):
    vectors = VectorStore(path, "model", most=3)
    for n in range(5):
        vectors.put({f"t{n}": vector(n)})
    assert set(vectors.get([f"t{n}" for n in range(5)])) == {"t2", "t3", "t4"}
    vectors.put({f"u{n}": vector(n) for n in range(9)})
    assert len(vectors.get([f"u{n}" for n in range(9)])) == 3


def test_many_more_than_one_statement_takes(path):
    many = {f"t{n}": np.array([n], dtype=np.float32) for n in range(1234)}
    vectors = VectorStore(path, "model")
    vectors.put(many)
    assert {text: float(found[0]) for text, found in vectors.get(list(many)).items()} == {
        f"t{n}": float(n) for n in range(1234)
    }


@pytest.mark.parametrize(
    "damage", ["zeroblob(1540)", "substr(value, 1, 20)", "'text'", "x''", "value || x'00000000'"]
)
def test_a_damaged_vector_is_noticed_and_can_be_saved_again(path, damage, capsys):
    vectors = VectorStore(path, "model")
    vectors.put({"a": vector(1)})
    change(path, f"UPDATE vector SET value = {damage}")
    assert vectors.get(["a"]) == {}
    assert f"{path}: 1 vectors are damaged; they are computed again" in capsys.readouterr().err
    vectors.put({"a": vector(1)})
    assert vectors.get(["a"])["a"].tobytes() == vector(1).tobytes()


def test_a_vector_under_another_texts_key_is_damaged(path):
    vectors = VectorStore(path, "model")
    vectors.put({"a": vector(1), "b": vector(2)})
    change(path, "UPDATE vector SET value = (SELECT value FROM vector WHERE id = 1)")
    assert set(vectors.get(["a", "b"])) == {"a"}


def test_a_file_that_is_no_database_says_how_to_go_on(path):
    path.parent.mkdir()
    path.write_bytes(b"no database at all " * 100)
    with pytest.raises(ArenaError, match="file is not a database") as caught:
        VectorStore(path, "model").get(["a"])
    assert "arena clean --only embeddings --yes" in str(caught.value.hint)
    with pytest.raises(ArenaError, match="file is not a database"):
        VectorStore(path, "model").put({"a": vector(1)})


def test_two_processes_write_at_once_and_lose_nothing(path):
    running = [subprocess.Popen([sys.executable, "-c", WRITER, str(n), str(path)]) for n in (1, 2)]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    vectors = VectorStore(path, "model")
    for name in (1, 2):
        own = vectors.get([f"{name} {batch} {n}" for batch in range(40) for n in range(20)])
        assert len(own) == 800
        assert all((found == name).all() for found in own.values())
    shared = vectors.get([f"shared {batch}" for batch in range(40)])
    assert len(shared) == 40
    assert all((found == 1).all() or (found == 2).all() for found in shared.values())


def test_missing_texts_come_once_and_in_their_order(tmp_path):
    vectors = VectorStore(tmp_path / "v.sqlite", "model")
    assert vectors.missing(["b", "a", "b"]) == ["b", "a"]
    vectors.put({str(n): vector(n) for n in range(700)})
    wanted = [str(n) for n in range(702, 0, -1)]
    assert vectors.missing(wanted) == ["702", "701", "700"]
