"""Storage of trials: Optuna's journal in the project, or a database by its URL."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from arena_learning.core import ArenaError, first_line, is_locked, redacted

if TYPE_CHECKING:
    from optuna.storages import BaseStorage


def open_storage(url: str, journal: Path) -> BaseStorage:
    """Open the storage at ``url``; if empty, the journal, which several processes of one machine can share.

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
    except Exception as error:  # noqa: BLE001  every driver raises its own errors; all become an ArenaError
        first = first_line(error)
        raise ArenaError(
            f"the sweep's database cannot be opened: {redacted(first)}",
            where="--storage",
            hint="use a SQLAlchemy URL such as postgresql+psycopg://host/sweeps, or leave it out to use a file",
        ) from None


class JournalLock:
    """A lock for Optuna's journal that a killed process cannot leave behind: a kernel lock on a file beside it.

    Optuna's own locks are files: after kill -9 they stay for a grace period of 30 s. `acquire` also removes a last line
    that a power failure cut off, because it would corrupt the next one.

    Args:
        journal: the file to lock.
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
        """Release the lock."""
        self._lock.release()


def drop_broken_line(path: Path) -> None:
    """Remove an incomplete last line from a file of lines."""
    if not path.is_file() or not path.stat().st_size:
        return
    with path.open("rb+") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)


class SweepWorker:
    """A process that runs trials, with a lock file that shows whether it is alive.

    Args:
        folder: the folder of the sweep's worker locks.
        name: a unique name in that folder.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self._path = folder / f"{name}.lock"
        self._lock = FileLock(self._path)
        self._lock.acquire()

    def close(self) -> None:
        """Release the lock and remove its file."""
        self._path.unlink(missing_ok=True)
        self._lock.release()


def is_alive(folder: Path, name: str) -> bool:
    """Whether the worker called ``name`` is running on this machine."""
    path = folder / f"{name}.lock"
    if is_locked(path):
        return True
    path.unlink(missing_ok=True)
    return False
