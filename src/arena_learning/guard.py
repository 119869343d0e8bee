"""A running stage holds a lock, and one that DVC has started ends with it.

After `kill -9` of `dvc repro` the stage it had started lives on; a second `dvc repro` would start a copy beside it. The
lock makes the copy say so, and the watch ends the orphan. A stage started by hand may outlive its shell.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from arena_learning.errors import ArenaError
from arena_learning.paths import Paths

_POLL_SECONDS = 1.0
_PATIENCE_SECONDS = (
    3.0  # an orphan's lock is free within a poll: a run started right after a kill waits for it
)


@contextmanager
def running(stage: str, paths: Paths) -> Iterator[None]:
    """Hold the lock of ``stage`` (a name such as ``battle sft-i1``) while the block runs.

    Raises:
        ArenaError: another process runs the stage.
    """
    _end_with_parent()
    path = paths.lock(stage)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        end = time.monotonic() + _PATIENCE_SECONDS
        while not _taken(file):
            if time.monotonic() > end:
                file.seek(0)
                owner = file.read().strip() or "unknown"
                raise ArenaError(
                    f"the stage '{stage}' is running already (process {owner})",
                    where=str(path),
                    mend="wait for it, or end that process",
                )
            time.sleep(_PATIENCE_SECONDS / 30)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def refuse_while_running(paths: Paths) -> None:
    """Raise an `ArenaError` if any stage of this checkout is running: what it reads or writes must stay."""
    for path in sorted(paths.locks.glob("*.lock")):
        with path.open("a+") as file:
            if not _taken(file):
                raise ArenaError(
                    f"the stage '{path.stem.replace('@', ' ')}' is running",
                    where=str(path),
                    mend="wait for it, or end it",
                )


def _taken(file: IO[str]) -> bool:
    """Take the lock of an open file, if nobody holds it; closing the file gives it back."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _end_with_parent() -> None:
    """Watch the parent, if DVC is it: once it is gone, this process ends itself (finished batches are kept)."""
    parent = os.getppid()
    if parent != 1 and "DVC_STAGE" in os.environ:
        end_when_gone(parent)


def end_when_gone(parent: int) -> None:
    """End this process, from a thread of its own, as soon as ``parent`` is no longer its parent."""

    def watch() -> None:
        while os.getppid() == parent:
            stop.wait(_POLL_SECONDS)
        sys.stderr.write("the parent process is gone: stopping\n")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    stop = threading.Event()
    threading.Thread(target=watch, daemon=True, name="end-with-parent").start()
