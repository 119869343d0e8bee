"""Win rates: against a baseline, and averaged over opponents."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from arena_learning.core import ArenaError, suggest
from arena_learning.rating.battles import Battles, battles_from_frame
from arena_learning.rating.fold import fold, games_of
from arena_learning.rating.intervals import half_width

if TYPE_CHECKING:
    import pandas as pd

    from arena_learning.rating.arrays import Floats


class WinRate(NamedTuple):
    """A contestant's win rate, a tie as half a win.

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

    The interval is clustered: ``rate ± t * n / (n - 1) * sqrt(sum_g (points_g - rate * weight_g)^2) / weight``, over
    the n prompts (or battles) g, limited to 0 and 1.

    Args:
        table: battles; see `battles_from_frame`.
        baseline: the contestant to compare with.
        level: nominal coverage.

    Raises:
        ArenaError: a malformed table, or the baseline has no battle.

    Example:
        >>> import pandas as pd
        >>> battles = pd.DataFrame({"model_a": ["x", "x"], "model_b": ["y", "y"], "winner": ["model_a", "tie"]})
        >>> win_rate_against(battles, "y")[0].rate
        0.75
    """
    battles = table if isinstance(table, Battles) else battles_from_frame(table)
    if baseline not in battles.models:
        raise ArenaError(f"the baseline {baseline!r} has no battle", hint=suggest(baseline, battles.models))
    base = battles.models.index(baseline)
    first, second = battles.a == base, battles.b == base
    model = np.where(first, battles.b, battles.a)
    points = np.where(first, 2 - battles.points, battles.points) / 2
    met = first | second
    rates = [
        _rate(battles, np.flatnonzero(met & (model == code)), points, battles.models[code], level)
        for code in np.unique(model[met])
    ]
    return sorted(rates, key=lambda rate: (-rate.rate, rate.model))


def _rate(battles: Battles, rows: np.ndarray, points: Floats, model: str, level: float) -> WinRate:
    """Return the mean of ``points`` over some rows with its clustered interval."""
    repeats = battles.repeats[rows]
    weight = np.ones(len(rows)) if battles.weight is None else battles.weight[rows]
    mass, won = repeats * weight, points[rows]
    total = mass.sum()
    mean = float((mass * won).sum() / total)
    if battles.prompt is None:
        clusters = round(float(repeats.sum()))
        spread = float((repeats * (weight * (won - mean)) ** 2).sum())
    else:
        held, cluster = np.unique(battles.prompt[rows], return_inverse=True)
        clusters = len(held)
        spread = float((np.bincount(cluster, weights=mass * (won - mean)) ** 2).sum())
    reach = half_width(level, clusters, True) * math.sqrt(spread) / float(total)
    return WinRate(model, mean, max(0.0, mean - reach), min(1.0, mean + reach), round(float(repeats.sum())))


def average_win_rates(table: pd.DataFrame | Battles) -> dict[str, float]:
    """Return each contestant's win rate averaged over its opponents with equal weights, best first.

    Raises:
        ArenaError: a malformed table.
    """
    battles = table if isinstance(table, Battles) else battles_from_frame(table)
    folded = fold(battles)
    games = games_of(folded.cells[:, None], "half")
    share = games.points / games.games
    ones = np.ones_like(share)
    mean = folded.pairs.scatter(share, 1 - share) / folded.pairs.scatter(ones, ones)
    rates = {model: float(mean[code, 0]) for code, model in enumerate(battles.models)}
    return dict(sorted(rates.items(), key=lambda item: (-item[1], item[0])))
