"""Win rates: against a baseline, and averaged over opponents."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from arena_learning.errors import ArenaError, suggest
from arena_learning.rating.battles import Battles, battles_from_frame
from arena_learning.rating.fold import fold
from arena_learning.rating.intervals import half_width

if TYPE_CHECKING:
    import pandas as pd


class WinRate(NamedTuple):
    """How often a contestant wins, a tie as half a win.

    Attributes:
        model: its name.
        rate: 0 to 1.
        lower: lower end of the interval, clustered by prompt where prompts are known.
        upper: upper end.
        battles: number of battles.
    """

    model: str
    rate: float
    lower: float
    upper: float
    battles: int


def win_rate_against(table: pd.DataFrame | Battles, baseline: str, *, level: float = 0.95) -> list[WinRate]:
    """Return each contestant's win rate against a baseline, the best first.

    The interval is the mean's by clusters: ``rate ± t * sqrt(n / (n - 1) * sum_g (points_g - rate * weight_g)^2) /
    weight``, over the n prompts (or battles) g, cut off at 0 and 1.

    Args:
        table: battles, as `battles_from_frame` takes them.
        baseline: the contestant to hold against.
        level: nominal coverage.

    Raises:
        ArenaError: the table is not as it must be, or the baseline fought no battle.
    """
    battles = table if isinstance(table, Battles) else battles_from_frame(table)
    if baseline not in battles.models:
        raise ArenaError(f"the baseline {baseline!r} fought no battle", mend=suggest(baseline, battles.models))
    base = battles.models.index(baseline)
    first, second = battles.a == base, battles.b == base
    model = np.where(first, battles.b, battles.a)
    points = np.where(first, 2 - battles.points, battles.points) / 2
    rates = [
        _rate_of(battles, np.flatnonzero((first | second) & (model == code)), points, level)
        for code in np.unique(model[first | second])
    ]
    return sorted(rates, key=lambda rate: (-rate.rate, rate.model))


def _rate_of(battles: Battles, rows: np.ndarray, points: np.ndarray, level: float) -> WinRate:
    code = next(iter(set(battles.a[rows[:1]]) | set(battles.b[rows[:1]])))
    both = {int(battles.a[rows[0]]), int(battles.b[rows[0]])}
    common = both.intersection(*({int(battles.a[row]), int(battles.b[row])} for row in rows[-1:]))
    assert code in common
    raise NotImplementedError
