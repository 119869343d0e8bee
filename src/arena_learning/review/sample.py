"""Choose the battles that people review: at random, of close contestants, or where judges disagree.

A sample of more battles of the same kind and seed contains a smaller one, so a review can go on.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

from arena_learning.core import ArenaError
from arena_learning.pool import seeded_rank
from arena_learning.review.battles import ReviewBattle
from arena_learning.schema import ReviewSampling

# The share of the pairs of contestants that counts as close: those whose battles are most even.
_CLOSE = 0.25


def draw_sample(
    battles: Sequence[ReviewBattle], sampling: ReviewSampling, count: int, seed: int
) -> list[ReviewBattle]:
    """Return up to ``count`` battles, best first.

    ``random`` takes a battle of each pair of contestants in turn, ``close`` does so for the most even quarter of the
    pairs; in both, the battles of a pair are drawn at random, whatever the judges said of them, so calibrated ratings
    may use them. ``disagreement`` takes the battles whose games differ most, over all judges and both orders.

    Args:
        battles: what to choose from.
        sampling: how.
        count: the most battles to return.
        seed: seed of the draw.

    Raises:
        ArenaError: there is none to choose.
    """
    if not battles:
        raise ArenaError(
            "no battle has a verdict of a judge", hint="run `arena evaluate`, or `arena judge ROUND`"
        )
    ranks = {b.key: seeded_rank(seed, "review", b.instruction.id, *b.pair) for b in battles}
    if sampling == "disagreement":
        divided = [b for b in battles if b.disagreement > 0]
        if not divided:
            raise ArenaError(
                "the judges agree on every battle",
                where="--sample disagreement",
                hint="choose --sample random or close",
            )
        return sorted(divided, key=lambda b: (-b.disagreement, ranks[b.key]))[:count]
    by_pair: dict[tuple[str, str], list[ReviewBattle]] = defaultdict(list)
    for battle in sorted(battles, key=lambda b: ranks[b.key]):
        by_pair[battle.pair].append(battle)
    if sampling == "close":
        by_pair = {pair: by_pair[pair] for pair in _closest(by_pair)}
    in_turn = [(place, ranks[b.key], b) for own in by_pair.values() for place, b in enumerate(own)]
    return [battle for _, _, battle in sorted(in_turn, key=lambda found: found[:2])][:count]


def _closest(by_pair: dict[tuple[str, str], list[ReviewBattle]]) -> list[tuple[str, str]]:
    """Return the pairs whose contestants win about as often as they lose, at least one."""

    def unevenness(pair: tuple[str, str]) -> float:
        return abs(fmean(battle.mean_points for battle in by_pair[pair]) - 0.5)

    number = math.ceil(len(by_pair) * _CLOSE)
    return sorted(by_pair, key=lambda pair: (unevenness(pair), pair))[:number]
