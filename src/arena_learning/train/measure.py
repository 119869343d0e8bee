"""Measure a training: how far the weights moved, how much memory it took; and give memory back."""

from __future__ import annotations

import ctypes
import math
import resource
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

STILL = 1e-6  # a relative change below this leaves greedy answers unchanged


def relative_change(start: Path, now: Mapping[str, Any] | Path) -> float:
    """Return |now - start| / |start| over all weights, summed in double precision.

    Args:
        start: a model's folder.
        now: the weights by name, or a model's folder; weights that ``start`` does not have are ignored.
    """
    import torch

    weights = dict(_tensors(now)) if isinstance(now, Path) else now
    moved = size = 0.0
    for name, before in _tensors(start):
        if name in weights:
            old = before.to(torch.float32)
            new = weights[name].detach().to("cpu", torch.float32)
            moved += float((new - old).square().sum(dtype=torch.float64))
            size += float(old.square().sum(dtype=torch.float64))
    return math.sqrt(moved / size) if size else 0.0


def peak_memory_mb() -> float:
    """Return the largest resident memory of this process so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def give_back_memory() -> None:
    """Give freed memory back to the system: glibc keeps it, and what comes next would add to it."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", lambda _: None)  # other C libraries keep nothing
        trim(0)


def _tensors(folder: Path) -> Iterator[tuple[str, Any]]:
    """Yield the weights of a folder one by one, so that no second model is in memory."""
    from safetensors import safe_open

    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (not a mapping)
                yield name, file.get_tensor(name)
