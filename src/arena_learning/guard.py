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
from collections.abc import Iterator
from contextlib import contextmanager

from arena_learning.errors import ArenaError
from arena_learning.paths import Paths

_POLL_SECONDS = 1.0


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
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            raise ArenaError(
                f"the stage '{stage}' is running already (process {owner})",
                where=str(path),
                mend="wait for it, or end that process",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _end_with_parent() -> None:
    """Watch the parent, if DVC is it: once it is gone, this process ends itself (finished batches are kept)."""
    parent = os.getppid()
    if parent == 1 or "DVC_STAGE" not in os.environ:
        return

    def watch() -> None:
        while os.getppid() == parent:
            stop.wait(_POLL_SECONDS)
        sys.stderr.write("the parent process is gone: stopping\n")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    stop = threading.Event()
    threading.Thread(target=watch, daemon=True, name="end-with-parent").start()
