"""A running stage holds a lock, and one that DVC has started ends with it.

After `kill -9` of `dvc repro` the stage it had started lives on; a second `dvc repro` would start a copy beside it. The
lock makes the copy say so, and the watch ends the orphan. A stage started by hand may outlive its shell.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from arena_learning.core.errors import ArenaError
from arena_learning.core.paths import Paths

_POLL_SECONDS = 1.0
_PATIENCE_SECONDS = (
    3.0  # an orphan's lock is free within a poll: a run started right after a kill waits for it
)


@contextmanager
def hold_stage_lock(stage: str, paths: Paths) -> Iterator[None]:
    """Hold the lock of ``stage`` (a name such as ``battle sft-i1``) while the block runs.

    Raises:
        ArenaError: another process runs the stage.
    """
    from filelock import FileLock, Timeout

    _end_with_parent()
    path = paths.lock(stage)
    try:
        held = FileLock(path, timeout=_PATIENCE_SECONDS).acquire()
    except Timeout:
        owner = path.read_text(encoding="utf-8").strip() or "unknown"
        raise ArenaError(
            f"the stage '{stage}' is running already (process {owner})",
            where=str(path),
            hint="wait for it, or end that process",
        ) from None
    with held:
        path.write_text(str(os.getpid()), encoding="utf-8")
        yield


def refuse_while_running(paths: Paths) -> None:
    """Raise an `ArenaError` if any stage of this checkout is running: what it reads or writes must stay."""
    for path in sorted(paths.locks.glob("*.lock")):
        if is_locked(path):
            raise ArenaError(
                f"the stage '{path.stem.replace('@', ' ')}' is running",
                where=str(path),
                hint="wait for it, or end it",
            )


def is_locked(path: Path) -> bool:
    """Whether a living process holds the lock file at ``path``: the system gives it back however its holder ends."""
    from filelock import FileLock, Timeout

    if not path.is_file():
        return False  # the lock would make it
    try:
        with FileLock(path, blocking=False):
            return False
    except Timeout:
        return True


def _end_with_parent() -> None:
    """Watch the parent, if DVC is it: once it is gone, this process ends itself (finished batches are kept)."""
    parent = os.getppid()
    if parent != 1 and "DVC_STAGE" in os.environ:
        end_with_process(parent)


def end_with_process(parent: int) -> None:
    """End this process, from a thread of its own, as soon as ``parent`` is no longer its parent."""

    def watch() -> None:
        while os.getppid() == parent:
            stop.wait(_POLL_SECONDS)
        sys.stderr.write("the parent process is gone: stopping\n")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    stop = threading.Event()
    threading.Thread(target=watch, daemon=True, name="end-with-parent").start()
