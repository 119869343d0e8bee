"""Where trials are kept: Optuna's journal in the project, or any database that Optuna knows by its URL."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from arena_learning.core import ArenaError, is_locked, redacted

if TYPE_CHECKING:
    from optuna.storages import BaseStorage


def open_storage(url: str, journal: Path) -> BaseStorage:
    """Open the storage at ``url``; empty: the journal, which several processes of one machine may write.

    Raises:
        ArenaError: the database cannot be opened.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if url:
        return _database(url)
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    journal.parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(str(journal), lock_obj=JournalLock(journal)))


def _database(url: str) -> BaseStorage:
    from optuna.storages import RDBStorage

    try:
        return RDBStorage(url)
    except Exception as error:  # noqa: BLE001  whatever the driver raises, its words are shown and nothing goes on
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ArenaError(
            f"the sweep's database cannot be opened: {redacted(first)}",
            where="--storage",
            hint="a URL that SQLAlchemy knows, such as postgresql+psycopg://host/sweeps; without it a file is used",
        ) from None


class JournalLock:
    """A lock for Optuna's journal that a killed process cannot leave behind: the kernel's, on a file beside it.

    Optuna's own locks are files: after kill -9 they stay until a grace period of 30 s is over. And a line that was cut
    off by a power failure would spoil the next one: it is taken back before anything is written.

    Args:
        journal: the file to be locked.
    """

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._lock = FileLock(journal.with_suffix(".lock"))

    def acquire(self) -> bool:
        """Wait for the lock."""
        self._lock.acquire()
        drop_broken_line(self._journal)
        return True

    def release(self) -> None:
        """Give the lock back."""
        self._lock.release()


def drop_broken_line(path: Path) -> None:
    """Cut a last line without its end off a file of lines."""
    if not path.is_file() or not path.stat().st_size:
        return
    with path.open("rb+") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)


class SweepWorker:
    """One process that runs trials: a lock file that says whether it lives.

    Args:
        folder: of the sweep's workers' locks.
        name: unique among them.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self._path = folder / f"{name}.lock"
        self._lock = FileLock(self._path)
        self._lock.acquire()

    def close(self) -> None:
        """Give the lock back and remove it."""
        self._path.unlink(missing_ok=True)
        self._lock.release()


def is_alive(folder: Path, name: str) -> bool:
    """Whether the worker called ``name`` still runs on this machine."""
    path = folder / f"{name}.lock"
    if is_locked(path):
        return True
    path.unlink(missing_ok=True)
    return False
