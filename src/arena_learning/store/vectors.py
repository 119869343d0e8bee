"""Embedding vectors by text, remembered across stages in a SQLite file of their own.

They are no results: each can be computed again, at the price of time. So the number is bounded, the oldest go first,
and a damaged vector is computed again. Several processes may use the file; of two that save the same text, the first
one's vector stays.
"""

from __future__ import annotations

import hashlib
import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from arena_learning.core import logger
from arena_learning.store.database import CHUNK, connect, failure, make_folder, transaction

Vector = npt.NDArray[np.float32]

MOST_VECTORS = 1_000_000  # of 384 numbers: about 2.1 GB in the file, where a pool is as large
_SCHEMA = "CREATE TABLE IF NOT EXISTS vector (id INTEGER PRIMARY KEY, key BLOB UNIQUE NOT NULL, value BLOB NOT NULL)"


class VectorStore:
    """Vectors in the file ``path``, created when the first is saved.

    Args:
        path: the database file. It is opened for each call, so that threads and forks may share the object.
        name: what computes the vectors: whatever could change one must change the name.
        most: the most vectors to keep.

    Example:
        >>> import tempfile
        >>> vectors = VectorStore(Path(tempfile.mkdtemp()) / "vectors.sqlite", "a model's digest")
        >>> vectors.put({"Blue.": np.array([0.6, 0.8], dtype=np.float32)})
        >>> vectors.get(["Blue.", "Red."])
        {'Blue.': array([0.6, 0.8], dtype=float32)}
    """

    def __init__(self, path: Path, name: str, *, most: int = MOST_VECTORS) -> None:
        self._path, self._name, self._most = path, name, most

    def get(self, texts: Sequence[str]) -> dict[str, Vector]:
        """Return the vectors of ``texts``, bit by bit as they were saved; those that are not known are left out.

        Damaged vectors are removed, and a line on standard error counts them.

        Raises:
            ArenaError: the file is no database of vectors, or stays locked for a minute.
        """
        if not self._path.exists():
            return {}
        by_key = {self._key(text): text for text in texts}
        keys, found, damaged = list(by_key), {}, []
        with self._open() as db:
            for start in range(0, len(keys), CHUNK):
                chunk = keys[start : start + CHUNK]
                marks = ",".join("?" * len(chunk))
                for key, value in db.execute(f"SELECT key, value FROM vector WHERE key IN ({marks})", chunk):
                    vector = _read(key, value)
                    if vector is None:
                        damaged.append(key)
                    else:
                        found[by_key[key]] = vector
            if damaged:
                with transaction(db):
                    db.executemany("DELETE FROM vector WHERE key = ?", [(key,) for key in damaged])
        if damaged:
            logger.info(f"{self._path}: {len(damaged)} vectors are damaged; they are computed again")
        return found

    def missing(self, texts: Sequence[str]) -> list[str]:
        """Return those of ``texts`` that have no vector here, each once, in their order.

        Raises:
            ArenaError: like `get`.
        """
        by_key = {self._key(text): text for text in texts}
        if self._path.exists():
            keys = list(by_key)
            with self._open() as db:
                for start in range(0, len(keys), CHUNK):
                    chunk = keys[start : start + CHUNK]
                    marks = ",".join("?" * len(chunk))
                    for (key,) in db.execute(f"SELECT key FROM vector WHERE key IN ({marks})", chunk):
                        by_key.pop(key, None)
        return list(by_key.values())

    def put(self, vectors: Mapping[str, Vector]) -> None:
        """Save vectors by text, and remove the oldest beyond the bound.

        Raises:
            ArenaError: like `get`, or the disk is full.
        """
        keyed = ((self._key(text), vector) for text, vector in vectors.items())
        rows = [(key, _written(key, vector)) for key, vector in keyed]
        make_folder(self._path, "the embeddings")
        with self._open() as db, transaction(db):
            db.executemany("INSERT OR IGNORE INTO vector (key, value) VALUES (?, ?)", rows)
            # Ids grow by one a row, so this keeps the latest without counting the rows.
            db.execute("DELETE FROM vector WHERE id <= (SELECT MAX(id) FROM vector) - ?", (self._most,))

    def _key(self, text: str) -> bytes:
        whole = f"{self._name}\0{text}".encode("utf-8", "surrogatepass")
        return hashlib.sha256(whole).digest()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(connect(self._path)) as db:
                db.text_factory = bytes  # a damaged value may be text, and no valid text
                db.execute(_SCHEMA)
                yield db
        except sqlite3.Error as error:
            raise failure(
                "the memory of embeddings",
                self._path,
                error,
                kept="nothing is lost",
                anew="run `arena clean --only embeddings --yes`: they are computed again when a judge needs them",
            ) from None


def _written(key: bytes, vector: Vector) -> bytes:
    numbers = np.asarray(vector, dtype="<f4").tobytes()
    return numbers + zlib.crc32(key + numbers).to_bytes(4, "little")


def _read(key: bytes, value: object) -> Vector | None:
    """Return the vector in a value of the table, None if it is damaged."""
    if not isinstance(value, bytes) or len(value) % 4 or len(value) < 8:
        return None
    numbers, checksum = value[:-4], value[-4:]
    if zlib.crc32(key + numbers).to_bytes(4, "little") != checksum:
        return None
    return np.frombuffer(numbers, dtype="<f4").astype(np.float32)
