"""A queue of work for several processes on one store: each asks for its own part and takes the rest from the others."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from arena_learning.store.store import Store

_BATCHES = 8  # in a window, while no other process has been met
_WINDOWS = 8  # at least so many, where a window then holds a batch: a process that comes later finds work
_POLL_SECONDS = (0.01, 0.5)  # shortest and longest wait for another process
PATIENCE_SECONDS = 1800.0  # without anything from another process after which its leases are taken over


class WorkShare(NamedTuple):
    """What this process is to ask for now, and what is known, asked here earlier or by another process."""

    mine: list[bytes]
    known: dict[bytes, dict[str, Any]]


def lease_work(
    store: Store | None,
    keys: Sequence[bytes],
    batch: int,
    *,
    whole: bool = False,
    waiting: Callable[[int], None] = lambda _: None,
    patience: float = PATIENCE_SECONDS,
) -> Iterator[WorkShare]:
    """Yield shares until every key was known or this process's to ask for.

    Keys are leased window by window, and looked up again in the same step. What another process has leased is left
    for later, then waited for; where that process dies, or puts nothing into the store, it is this process's turn.

    Args:
        store: where leases and values are; without one everything is this process's.
        keys: distinct.
        batch: how many are asked for at once.
        whole: lease batches as they stand, known keys among them, or not at all (for engines whose answers depend on
            the batch).
        waiting: called with the number of keys that another process is busy with, while there is nothing else to do.
        patience: seconds without news from other processes after which their leases are taken over.
    """
    size = batch if whole else max(batch, min(_BATCHES * batch, -(-len(keys) // _WINDOWS)))
    windows = deque(list(keys[start : start + size]) for start in range(0, len(keys), size))
    if store is None:
        yield from (WorkShare(window, {}) for window in windows)
        return
    later: list[list[bytes]] = []
    news, pause = time.monotonic(), _POLL_SECONDS[0]
    while windows or later:
        if not windows:
            if time.monotonic() - news > patience:
                store.take_over(later)
            else:
                waiting(sum(map(len, later)))
                time.sleep(pause)
                pause = min(2 * pause, _POLL_SECONDS[1])
            windows, later = deque(later), []
        window = windows.popleft()
        if later and len(window) > batch:  # another process is at work: smaller windows share the end evenly
            windows.appendleft(window[batch:])
            window = window[:batch]
        leased = store.lease(window, whole=whole)
        if leased.theirs:
            later.append(leased.theirs)
        if leased.mine or leased.known:
            yield WorkShare(leased.mine, leased.known)
            news, pause = time.monotonic(), _POLL_SECONDS[0]
        if leased.mine:  # after an error they end with the store
            store.release()
