"""Atomic writes: a file appears complete or not at all, and leftovers of killed writes are removed."""

from __future__ import annotations

import fcntl
import glob
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from arena_learning.core.errors import system_error

_SUFFIX = ".part"  # tells our temporary files from the hidden files that editors create


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield the path of an empty temporary file; after the block it replaces ``path``, after an error it is deleted.

    The temporary file is hidden, in the same folder, and locked while the block runs. So the next write of ``path`` can
    remove the leftover of a killed process (unlocked) without touching a file that another process is writing.

    Raises:
        ArenaError: the disk is full, or the place may not be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_left_over(path)
        handle, written = _locked_file(path)
    except OSError as error:
        raise system_error(error, path) or error from None
    try:
        yield written
        os.fsync(handle)
        written.chmod(0o644)
        written.replace(path)
    except BaseException as error:
        written.unlink(missing_ok=True)
        # An error that names another file is not about this one.
        if isinstance(error, OSError) and error.filename in (None, str(written)):
            raise system_error(error, path) or error from None
        raise
    finally:
        os.close(handle)


def _locked_file(path: Path) -> tuple[int, Path]:
    while True:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_SUFFIX)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:  # else another process deleted it as a leftover before it was locked
            return handle, Path(name)
        os.close(handle)


def _remove_left_over(path: Path) -> None:
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{_SUFFIX}"):
        with suppress(FileNotFoundError), left.open("rb") as file, suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink()
