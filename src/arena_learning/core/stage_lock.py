"""Locks running stages, and ends a stage when the DVC process that started it dies.

After `kill -9` of `dvc repro`, its stage process keeps running, and a second `dvc repro` would start the same stage
again. The lock makes the second one fail with an error; a watching thread ends the orphan. A stage that was started by
hand is not watched: it may outlive its shell.

A project on a shared file system may be opened on several machines. Its store serves one, so a stage is refused while
another machine runs any. Some file systems keep locks to the machine that took them; therefore a lock's file also names
its holder's machine and counts up while the holder lives (`lock_owner`).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from arena_learning.core.errors import ArenaError
from arena_learning.core.lock_owner import held_elsewhere, read_owner, sign_of_life
from arena_learning.core.paths import Paths

_POLL_SECONDS = 1.0
_PATIENCE_SECONDS = (
    3.0  # an orphan ends within one poll, so a run that starts right after a kill gets its lock
)


@contextmanager
def hold_stage_lock(stage: str, paths: Paths) -> Iterator[None]:
    """Hold the lock of ``stage`` (a name such as ``battle sft-i1``) while the block runs.

    Raises:
        ArenaError: another process is running the stage, or another machine is running any stage of the project.
    """
    from filelock import FileLock, Timeout

    _end_with_parent()
    path = paths.lock(stage)
    try:
        held = FileLock(path, timeout=_PATIENCE_SECONDS).acquire()
    except Timeout:
        raise ArenaError(
            f"the stage '{stage}' is already running ({read_owner(path)})",
            where=str(path),
            hint="wait until it finishes, or end that process",
        ) from None
    with held:
        _refuse_other_machines([path])
        with sign_of_life(path):
            _refuse_other_machines(sorted(paths.locks.glob("*.lock")))
            yield


def _refuse_other_machines(locks: Sequence[Path]) -> None:
    for path in locks:
        owner = held_elsewhere(path)
        if owner is not None:
            raise ArenaError(
                f"the stage '{path.stem.replace('@', ' ')}' is running on another machine ({owner})",
                where=str(path),
                hint="run all stages of a project on one machine: its store serves one. The models may run on many",
            )


def refuse_while_running(paths: Paths) -> None:
    """Raise an `ArenaError` if any stage of this checkout is running: its files must not change."""
    for path in sorted(paths.locks.glob("*.lock")):
        if is_locked(path):
            raise ArenaError(
                f"the stage '{path.stem.replace('@', ' ')}' is running",
                where=str(path),
                hint="wait until it finishes, or end it",
            )


def is_locked(path: Path) -> bool:
    """Whether a running process holds the lock file at ``path`` (the system releases the lock of a dead process)."""
    from filelock import FileLock, Timeout

    if not path.is_file():
        return False  # FileLock would create the file
    try:
        with FileLock(path, blocking=False):
            return False
    except Timeout:
        return True


def _end_with_parent() -> None:
    """If DVC is the parent process, watch it: when it dies, this process ends (finished batches are kept)."""
    parent = os.getppid()
    if parent != 1 and "DVC_STAGE" in os.environ:
        end_with_process(parent)


def end_with_process(parent: int) -> None:
    """Start a thread that kills this process as soon as ``parent`` is no longer its parent."""

    def watch() -> None:
        while os.getppid() == parent:
            stop.wait(_POLL_SECONDS)
        sys.stderr.write("the parent process is gone: stopping\n")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    stop = threading.Event()
    threading.Thread(target=watch, daemon=True, name="end-with-parent").start()
