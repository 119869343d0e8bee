"""The processes of a training: which one this is, and what they tell each other. Alone, every function is trivial."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def count() -> int:
    """Return the number of processes that train together."""
    import torch.distributed as processes

    return processes.get_world_size() if _several() else 1


def is_first() -> bool:
    """Whether this is the process that writes files and shows progress."""
    import torch.distributed as processes

    return not _several() or processes.get_rank() == 0


def from_first(make: Callable[[], T]) -> T:
    """Let the first process call ``make``, and return its result in all of them."""
    import torch.distributed as processes

    if not _several():
        return make()
    told = [make() if is_first() else None]
    processes.broadcast_object_list(told, src=0)
    return told[0]  # type: ignore[return-value]  # the first process's


def total(number: int) -> int:
    """Return the sum of a number over all processes."""
    import torch.distributed as processes

    if not _several():
        return number
    told: list[int] = [0] * count()
    processes.all_gather_object(told, number)
    return sum(told)


def _several() -> bool:
    import torch.distributed as processes

    return processes.is_available() and processes.is_initialized()
