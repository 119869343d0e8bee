"""Appends a line to a JSON Lines file: the line is there whole or not at all, and no byte before it changes."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from arena_learning.core.errors import ArenaError, system_error
from arena_learning.core.json_files import canonical

_CHUNK = 1 << 16


def append_json(path: Path, value: object) -> None:
    """Append ``value`` as a line, and return when it is on the disk; creates the file and its folder.

    The file is locked meanwhile. If the disk is full, the part that was written is removed again.

    Raises:
        ArenaError: the line cannot be written.
    """
    with _locked(path, create=True) as handle:
        _end_last_line(handle)
        _write_whole(handle, f"{canonical(value)}\n".encode())


def remove_torn_line(path: Path) -> bool:
    """Remove what a write that was killed left behind the last whole line; returns whether there was anything.

    A last line that is JSON and only lacks its line break, as after an edit by hand, stays and gets one.

    Raises:
        ArenaError: the file cannot be written.
    """
    if not path.is_file():
        return False
    with _locked(path) as handle:
        return _end_last_line(handle)


@contextmanager
def _locked(path: Path, *, create: bool = False) -> Iterator[int]:
    """Open and lock a file during the block; what the system refuses is an `ArenaError`."""
    try:
        is_new = not path.exists()
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_APPEND | (os.O_CREAT if create else 0), 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield handle
        finally:
            os.close(handle)
        if is_new:
            _sync_folder(path.parent)
    except OSError as error:
        other = ArenaError(
            f"cannot be written: {error.strerror}", where=str(path), hint="nothing was added to the file"
        )
        raise system_error(error, path) or other from None


def _end_last_line(handle: int) -> bool:
    size = os.fstat(handle).st_size
    tail = _after_last_break(handle, size)
    if not tail:
        return False
    try:
        json.loads(tail)
    except ValueError:
        os.ftruncate(handle, size - len(tail))
        os.fsync(handle)
        return True
    os.write(handle, b"\n")
    return False


def _after_last_break(handle: int, size: int) -> bytes:
    """Return the bytes after the last line break."""
    tail = b""
    while size and b"\n" not in tail:
        start = max(0, size - _CHUNK)
        tail = os.pread(handle, size - start, start) + tail
        size = start
    return tail.rpartition(b"\n")[2]


def _write_whole(handle: int, data: bytes) -> None:
    end = os.fstat(handle).st_size
    try:
        written = 0
        while written < len(data):
            written += os.write(handle, data[written:])
        os.fsync(handle)
    except OSError:
        os.ftruncate(handle, end)
        raise


def _sync_folder(folder: Path) -> None:
    """Write a folder's list of files to the disk, without which a new file may be lost with the power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
