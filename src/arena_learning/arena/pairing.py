"""Which contestants are paired on which instruction (paper, section 5.3)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from arena_learning.pool import seeded_rank


def pair_contestants(
    instruction_ids: Sequence[str], target: str | None, opponents: Sequence[str], mode: str, seed: int
) -> list[tuple[str, str, str]]:
    """Return (instruction id, a, b) triples, sorted; a and b are in alphabetical order.

    Args:
        instruction_ids: the instructions to pair on.
        target: the contestant being trained, or None.
        opponents: the other contestants; a target without any (in a round that learns from its samples) has no pair.
        mode: ``all``: every pair; ``target``: the target against each opponent; ``split``: the target against one
            opponent an instruction, drawn by a seeded hash so that each opponent gets about the same share.
        seed: seed of that draw.

    Example:
        >>> pair_contestants(["q1"], "base", ["large", "small"], "target", seed=0)
        [('q1', 'base', 'large'), ('q1', 'base', 'small')]
    """
    players = sorted({*([target] if target else []), *opponents})
    triples = []
    for instruction_id in instruction_ids:
        if mode == "all" or target is None:
            pairs = list(combinations(players, 2))
        elif mode == "target":
            pairs = [_ordered(target, other) for other in opponents]
        elif not opponents:
            pairs = []
        else:
            other = min(opponents, key=lambda o: seeded_rank(seed, "opponent", instruction_id, o))
            pairs = [_ordered(target, other)]
        triples += [(instruction_id, a, b) for a, b in pairs]
    return sorted(triples)


def _ordered(x: str, y: str) -> tuple[str, str]:
    return (x, y) if x < y else (y, x)
