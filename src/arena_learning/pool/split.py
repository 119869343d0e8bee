"""Fills the splits from the pool: by seeded draws, or by a hash of each id in the order of the pool."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from arena_learning.schema import Instruction


def seeded_rank(seed: int, *parts: str) -> str:
    """Return a hash to sort by: a shuffle that depends only on the seed and the ids, not on the order in the file."""
    return hashlib.sha256("\x1f".join((str(seed), *parts)).encode()).hexdigest()


def draw(
    instructions: Sequence[Instruction], count: int, seed: int, purpose: str
) -> tuple[list[Instruction], list[Instruction]]:
    """Draw ``count`` instructions (or all, if there are fewer), stratified by category; return (drawn, rest).

    Each category contributes by its share (largest remainder method). Both lists are in seeded order.
    """
    order = {i.id: seeded_rank(seed, purpose, i.id) for i in instructions}
    groups: dict[str, list[Instruction]] = defaultdict(list)
    for instruction in sorted(instructions, key=lambda i: order[i.id]):
        groups[instruction.category].append(instruction)
    quotas = _quotas({c: len(g) for c, g in groups.items()}, min(count, len(instructions)))
    drawn = [i for c, group in groups.items() for i in group[: quotas[c]]]
    rest = [i for c, group in groups.items() for i in group[quotas[c] :]]
    return sorted(drawn, key=lambda i: order[i.id]), sorted(rest, key=lambda i: order[i.id])


def fill_in_order(
    instructions: Sequence[Instruction], sizes: Mapping[str, int], seed: int
) -> tuple[dict[str, list[Instruction]], list[Instruction]]:
    """Fill splits of given sizes in the order of the instructions; return the splits and the rest.

    A hash of its id puts each instruction into one of the splits, a large one more often than a small one (weighted
    rendezvous hashing); where that one is full, into its next choice. So an instruction's split depends on it and on
    those before it alone: what is added at the end moves nothing.
    """
    splits: dict[str, list[Instruction]] = {name: [] for name in sizes}
    rest: list[Instruction] = []
    for instruction in instructions:
        open_ones = [name for name, size in sizes.items() if len(splits[name]) < size]
        if not open_ones:
            rest.append(instruction)
            continue
        chosen = min(open_ones, key=lambda name: _distance(seed, name, instruction.id, sizes[name]))
        splits[chosen].append(instruction)
    return splits, rest


def _distance(seed: int, split: str, name: str, size: int) -> float:
    """Return a number that is exponentially distributed with mean 1 / size: the least of them chooses the split."""
    number = int(seeded_rank(seed, "split", split, name)[:13], 16)
    return -math.log((number + 1) / 2**52) / size


def _quotas(sizes: dict[str, int], count: int) -> dict[str, int]:
    total = sum(sizes.values())
    if not total:
        return {}
    exact = {c: count * n / total for c, n in sizes.items()}
    quotas = {c: int(e) for c, e in exact.items()}
    by_remainder = sorted(sizes, key=lambda c: (quotas[c] - exact[c], c))
    for category in by_remainder[: count - sum(quotas.values())]:
        quotas[category] += 1
    return quotas
