"""Asks contestants at the same time where devices allow.

Local engines need this machine's device, so they are asked here, one after the other. Copies on a Ray cluster
(``replicas``) are asked here too: two engines that start their copies at once could each get a part of the GPUs and
wait for the rest. A contestant behind an endpoint needs no device: it is asked in a thread of its own, beside the local
ones.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Generic, NamedTuple, TypeVar

from arena_learning.core import ArenaError, logger, past_deadline
from arena_learning.store import Ended, Together

T = TypeVar("T")
_GRACE_SECONDS = (
    5.0  # in which the others may end by themselves after an error, with the answer that is on its way
)
_END_SECONDS = 10.0  # in which a thread whose engine is closed should end


class Remote(NamedTuple, Generic[T]):
    """A contestant that needs no device here.

    Attributes:
        ask: asks it, in a thread of its own.
        close: ends its requests; is called from another thread.
    """

    ask: Callable[[], T]
    close: Callable[[], None]


def ask_at_once(
    local: Mapping[str, Callable[[], T]],
    remote: Mapping[str, Remote[T]],
    order: Iterable[str],
    together: Together,
) -> dict[str, T]:
    """Ask all contestants; return what each gives, in ``order``.

    When one fails, or Ctrl-C comes, the others end too: a local one after its batch, those behind endpoints at their
    next answer, or after a few seconds. Whatever has arrived is stored.

    Args:
        local: who is asked in this thread, one after the other.
        remote: who is asked at the same time.
        order: all names.
        together: what all their stores share.

    Raises:
        ArenaError: the error of the first in ``order`` that failed; the other errors are warnings.
    """
    asking = _Asking(remote, together)
    try:
        asking.start()
        for name, ask in local.items():
            if not (together.ended or asking.errors):
                asking.run(name, ask)
        asking.wait()
    finally:
        asking.stop()  # after an error, or Ctrl-C; otherwise there is nothing to stop
    _raise_first({name: asking.errors[name] for name in order if name in asking.errors})
    return {name: asking.given[name] for name in order}


class _Asking(Generic[T]):
    """The threads of those behind endpoints, and what all have given so far."""

    def __init__(self, remote: Mapping[str, Remote[T]], together: Together) -> None:
        self.given: dict[str, T] = {}
        self.errors: dict[str, Exception] = {}
        self._remote, self._together = remote, together
        self._closed: set[str] = set()
        self._done: queue.SimpleQueue[str] = queue.SimpleQueue()
        # Daemons: the end of this process does not wait for one that does not come back from a server.
        self._threads = {
            name: threading.Thread(target=self.run, args=(name, one.ask), daemon=True, name=f"ask {name}")
            for name, one in remote.items()
        }

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads.values():
            thread.start()

    def run(self, name: str, ask: Callable[[], T]) -> None:
        """Ask one; after an error let the others end. Ctrl-C in the main thread goes through."""
        try:
            self.given[name] = ask()
        except Ended:
            pass
        except Exception as error:  # noqa: BLE001 - raised later, in the main thread
            if name not in self._closed:  # else it only says that its engine was closed
                self.errors[name] = error
            if not past_deadline():  # else each ends by itself, after the requests in flight
                self._together.end(error)
        finally:
            self._done.put(name)

    def wait(self) -> None:
        """Wait for all threads; once somebody has failed, only for a moment."""
        running, until = set(self._threads), 0.0
        while running:
            if self._together.ended:
                until = until or time.monotonic() + _GRACE_SECONDS
            try:
                left = max(0.0, until - time.monotonic()) if until else None
                running.discard(self._done.get(timeout=left))
            except queue.Empty:
                return
        for thread in self._threads.values():
            thread.join()

    def stop(self) -> None:
        """End the threads that are still running."""
        running = {name: thread for name, thread in self._threads.items() if thread.is_alive()}
        if not running:
            return
        self._together.end(self)
        self._closed.update(running)
        for name in running:
            with suppress(Exception):  # only what goes on is of interest now
                self._remote[name].close()
        until = time.monotonic() + _END_SECONDS
        for thread in running.values():
            thread.join(max(0.0, until - time.monotonic()))


def _raise_first(errors: Mapping[str, Exception]) -> None:
    """Raise the first error; warn of the others, unless they say the same (a budget, the hours of a run)."""
    if not errors:
        return
    first, *others = errors
    told = errors[first]
    for name in others:
        error = errors[name]
        if not _alike(told, error):
            kind = "" if isinstance(error, ArenaError) else f"{type(error).__name__}: "
            logger.warning(f"'{name}' failed too: {kind}{error}")
    raise told


def _alike(one: Exception, other: Exception) -> bool:
    """Whether two errors have one place and one remedy."""
    if isinstance(one, ArenaError) and isinstance(other, ArenaError):
        return (one.where, one.hint) == (other.where, other.hint)
    return False
