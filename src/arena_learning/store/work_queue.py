"""Distributes work among processes that share a store: each does a part and reads the rest from the store."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from arena_learning.store.store import Store

_BATCHES = 8  # maximum number of batches per window, while this is the only process
_WINDOWS = (
    8  # minimum number of windows (of at least one batch), so that a process that starts later finds work
)
_POLL_SECONDS = (0.01, 0.5)  # shortest and longest wait for another process
PATIENCE_SECONDS = 1800.0  # leases are taken over after this time without a result from other processes


class WorkShare(NamedTuple):
    """Keys that this process has to request now, and values that are already stored, from any process."""

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
    """Yield shares of ``keys`` until each key has come up once, as ``mine`` or as ``known``.

    Keys are leased and looked up window by window. Keys that another process has leased are postponed, then waited
    for; if that process dies or saves no value, they are leased to this process.

    Args:
        store: holds leases and values; without a store all keys are ``mine``.
        keys: distinct keys.
        batch: number of keys that are requested at once.
        whole: lease each batch as a whole, stored keys included, or not at all (for engines whose answers depend on
            the other conversations of the batch).
        waiting: called with the number of keys that other processes hold, while there is nothing else to do.
        patience: seconds without results from other processes after which their leases are taken over.

    Raises:
        Ended: another one who is asked at the same time has failed.

    Example::

        with Store(path) as store:
            for share in lease_work(store, keys, batch=32):
                results |= share.known
                store.put("response", answer(share.mine))
    """
    size = batch if whole else max(batch, min(_BATCHES * batch, -(-len(keys) // _WINDOWS)))
    windows = deque(list(keys[start : start + size]) for start in range(0, len(keys), size))
    if store is None:
        yield from (WorkShare(window, {}) for window in windows)
        return
    later: list[list[bytes]] = []
    news, pause = time.monotonic(), _POLL_SECONDS[0]
    while windows or later:
        store.account.together.check(store)
        if not windows:
            if time.monotonic() - news > patience:
                store.take_over(later)
            else:
                waiting(sum(map(len, later)))
                time.sleep(pause)
                pause = min(2 * pause, _POLL_SECONDS[1])
            windows, later = deque(later), []
        window = windows.popleft()
        if later and len(window) > batch:  # another process works too: smaller windows share the rest evenly
            windows.appendleft(window[batch:])
            window = window[:batch]
        leased = store.lease(window, whole=whole)
        if leased.theirs:
            later.append(leased.theirs)
        if leased.mine or leased.known:
            yield WorkShare(leased.mine, leased.known)
            news, pause = time.monotonic(), _POLL_SECONDS[0]
        if leased.mine:  # after an error, closing the store ends the leases
            store.release()
