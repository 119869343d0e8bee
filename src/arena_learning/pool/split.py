"""Seeded draws from the pool, stratified by category."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

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
    groups: dict[str, list[Instruction]] = defaultdict(list)
    for instruction in sorted(instructions, key=lambda i: seeded_rank(seed, purpose, i.id)):
        groups[instruction.category].append(instruction)
    quotas = _quotas({c: len(g) for c, g in groups.items()}, min(count, len(instructions)))
    drawn = [i for c, group in groups.items() for i in group[: quotas[c]]]
    rest = [i for c, group in groups.items() for i in group[quotas[c] :]]
    order = {i.id: seeded_rank(seed, purpose, i.id) for i in instructions}
    return sorted(drawn, key=lambda i: order[i.id]), sorted(rest, key=lambda i: order[i.id])


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
