"""Who holds a lock: process and machine, with a count that goes up while the holder lives.

A file system may keep a lock to the machine that took it (NFS mounted with ``local_lock=flock``, Lustre with
``localflock``): another machine then takes it too. The owner in the file is seen by all.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

BEAT_SECONDS = 4.0
SILENCE_SECONDS = 20.0  # a holder that has not counted for so long is dead


class LockOwner(NamedTuple):
    """The holder of a lock.

    Attributes:
        process: its id.
        host: name of its machine.
        machine: id of the machine since its last boot; containers on one machine share it, as they share its locks.
        beat: the count.
    """

    process: str
    host: str
    machine: str
    beat: str

    @property
    def here(self) -> bool:
        """Whether it is on this machine (an owner written by an earlier version is taken to be)."""
        return self.machine in ("", this_machine())

    def __str__(self) -> str:
        return f"process {self.process}" if self.here else f"process {self.process} on {self.host}"


def this_machine() -> str:
    """Return an id of this machine, another one after each boot."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return socket.gethostname()


def read_owner(path: Path) -> LockOwner:
    """Return the owner in a lock's file; its process is ``unknown`` if the file names none."""
    fields = path.read_text(encoding="utf-8", errors="replace").split() or ["unknown"]
    return LockOwner(*[*fields, "", "", ""][:4])


@contextmanager
def sign_of_life(path: Path) -> Iterator[None]:
    """Name this process in the lock's file, count there while the block runs, and empty the file after it."""
    line = f"{os.getpid()} {socket.gethostname()} {this_machine()} {{:012}}\n"
    path.write_text(line.format(0), encoding="utf-8")
    done = threading.Event()

    def count() -> None:
        number = 0
        while not done.wait(BEAT_SECONDS):
            number += 1
            # Overwritten in place, so that a reader never finds it empty. A count may be missed: the file server may
            # be away, or the project deleted.
            with suppress(OSError), path.open("r+", encoding="utf-8") as file:
                file.write(line.format(number))

    thread = threading.Thread(target=count, daemon=True, name="sign-of-life")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        with suppress(FileNotFoundError):
            os.truncate(path, 0)


def held_elsewhere(path: Path) -> LockOwner | None:
    """Return the owner of a lock if it lives on another machine, else None; a dead one's name is removed.

    This takes no time unless the file names another machine, then at most `SILENCE_SECONDS`.
    """
    first = read_owner(path)
    if first.here:
        return None
    end = time.monotonic() + SILENCE_SECONDS
    while time.monotonic() < end:
        now = read_owner(path)
        if now != first:  # it counts, has ended, or another one has begun
            return None if now.here else now
        time.sleep(BEAT_SECONDS / 8)
    with suppress(FileNotFoundError):
        os.truncate(path, 0)
    return None
