"""Online Elo: ratings updated after each battle, which show how they changed over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from arena_learning.core import ArenaError
from arena_learning.rating.battles import Battles, battles_from_frame

if TYPE_CHECKING:
    import pandas as pd

    from arena_learning.rating.arrays import Floats


@dataclass(frozen=True)
class EloParams:
    """Parameters of online Elo.

    Attributes:
        k: largest change by one battle, Elo points (4 in the first LMSYS leaderboards, 32 in chess).
        start: everybody's first rating.
        scale: Elo points for tenfold odds.
        permutations: 0 takes the battles in the order of rows; n averages over n shuffles, because the result depends
            on the order.
        seed: seed of the shuffles.
    """

    k: float = 4.0
    start: float = 1000.0
    scale: float = 400.0
    permutations: int = 0
    seed: int = 0


def online_elo(table: pd.DataFrame | Battles, params: EloParams | None = None) -> dict[str, float]:
    """Return online Elo ratings, highest first.

    After a battle ``rating_a += k * weight * (points_a - 1 / (1 + 10 ** ((rating_b - rating_a) / scale)))``, and
    ``rating_b`` loses the same (Elo 1978). A row with a count is that many battles in a row.

    Args:
        table: battles; see `battles_from_frame`.
        params: how to update; by default `EloParams()`.

    Raises:
        ArenaError: a malformed table, or k or scale is not positive.

    Example:
        >>> import pandas as pd
        >>> battles = pd.DataFrame({"model_a": ["x"], "model_b": ["y"], "winner": ["model_a"]})
        >>> online_elo(battles, EloParams(k=4, start=1000, permutations=0))  # even odds: 4 * (1 - 0.5) points
        {'x': 1002.0, 'y': 998.0}
    """
    params = params or EloParams()
    if params.k <= 0 or params.scale <= 0 or params.permutations < 0:
        raise ArenaError(f"k, scale and permutations must be positive: {params}", hint="use k=4, scale=400")
    battles = table if isinstance(table, Battles) else battles_from_frame(table)
    repeats = battles.repeats.astype(np.int64)
    rows = np.repeat(np.arange(len(battles)), repeats)
    a, b, points = battles.a[rows], battles.b[rows], battles.points[rows] / 2
    step = np.full(len(rows), params.k) if battles.weight is None else params.k * battles.weight[rows]
    if params.permutations:
        generator = np.random.default_rng(params.seed)
        orders = np.stack([generator.permutation(len(rows)) for _ in range(params.permutations)])
    else:
        orders = np.arange(len(rows))[None, :]
    ratings = _play(a, b, points, step, orders, params, len(battles.models)).mean(axis=0)
    final = {model: float(ratings[code]) for code, model in enumerate(battles.models)}
    return dict(sorted(final.items(), key=lambda item: (-item[1], item[0])))


def _play(
    a: np.ndarray,
    b: np.ndarray,
    points: Floats,
    step: Floats,
    orders: np.ndarray,
    params: EloParams,
    models: int,
) -> Floats:
    """Play all orders at once, battle by battle; return ratings ``(orders, models)``."""
    if len(orders) == 1:
        return _play_one(a, b, points, step, orders[0], params, models)
    ratings = np.full((len(orders), models), params.start)
    line = np.arange(len(orders))
    for now in orders.T:
        first, second = a[now], b[now]
        mine, theirs = ratings[line, first], ratings[line, second]
        change = step[now] * (points[now] - 1 / (1 + 10 ** ((theirs - mine) / params.scale)))
        ratings[line, first] = mine + change
        ratings[line, second] = theirs - change
    return ratings


def _play_one(
    a: np.ndarray,
    b: np.ndarray,
    points: Floats,
    step: Floats,
    order: np.ndarray,
    params: EloParams,
    models: int,
) -> Floats:
    """Play one order in plain Python, which is several times faster than arrays of one element."""
    ratings = [params.start] * models
    columns = (values[order].tolist() for values in (a, b, points, step))
    for first, second, won, k in zip(*columns, strict=True):
        gap = (ratings[second] - ratings[first]) / params.scale
        change = k * (won - 1 / (1 + 10**gap))
        ratings[first] += change
        ratings[second] -= change
    return np.array([ratings])
