"""When a ranking is settled: intervals that stay valid over any number of looks.

An ordinary 95 % interval holds for one look. Looking after every batch and stopping at the first interval that excludes
0 is wrong far more often. Here the interval of a difference with standard error ``s`` has the reach of Robbins' normal
mixture (Robbins 1970; Howard et al. 2021, section 3.2): with ``V = 1 / s^2``,

    reach = sqrt((V + rho) * log((V + rho) / (rho * alpha^2))) / V

which holds at all looks together with probability ``1 - alpha``. ``rho`` is chosen so that the interval is narrowest
where its reach equals the smallest gap that must be separated.

The published intervals are seen once, after the schedule's stop, so they need not hold at all looks. Ordinary intervals
would be too narrow: the stop favours gaps that look large, and battles go where gaps look small. Their reach for this
schedule is known from simulation (`reach_at_stop`).
"""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from arena_learning.rating.arrays import Bools, Floats

# One-sided 10 % quantile of the normal distribution. Treating a pair as close is no claim that needs an
# interval valid at all looks: it costs at worst a pair that could have been separated.
UNLIKELY = 1.2816
State = Literal["separated", "close", "open"]
# The level of `reach_at_stop`.
LEVEL_AT_STOP = 0.95
# Standard errors that cover 95 % of the differences of two contestants at the stop, at the true gap that needs most
# (1.5 times the gap to be separated); and how many more for each e-fold of contestants, whose errors add up along the
# ranking: by the difference between the highest and the lowest at the worst spacing (docs/lab/ratings.md).
_OF_TWO = 2.24
_OF_MORE = 0.33
_NORMAL = NormalDist()


class Adjacent(NamedTuple):
    """Two contestants next to each other in the ranking.

    Attributes:
        upper: index of the higher rated.
        lower: index of the other.
        gap: difference of their ratings, Elo points.
        error: its standard error.
        reach: how far its interval, valid at all looks, reaches to either side.
        state: ``separated`` if the interval excludes 0; ``close`` if it excludes a gap that must be separated, or is so
            narrow that such a gap would have shown; else ``open``.
    """

    upper: int
    lower: int
    gap: float
    error: float
    reach: float
    state: State


class Boundary:
    """The reach of intervals that are valid at all looks.

    Args:
        gap: smallest difference that must be separated, Elo points.
        level: coverage at all looks together.
    """

    def __init__(self, gap: float, level: float) -> None:
        self.gap, self.alpha = gap, 1 - level
        # V / rho that minimises the reach at V, to first order (Howard et al. 2021, equation 36).
        tuned = -2 * math.log(self.alpha) + math.log(1 - 2 * math.log(self.alpha))
        factor = math.sqrt((1 + 1 / tuned) * math.log((1 + tuned) / self.alpha**2))
        self._rho = (factor / gap) ** 2 / tuned

    def reach(self, error: float) -> float:
        """Return the reach at a standard error, Elo points."""
        return float(self.reaches(np.array(error)))

    def reaches(self, error: Floats) -> Floats:
        """Return the reach at each of many standard errors, Elo points, of their shape."""
        precision = np.asarray(error, dtype=np.float64) ** -2
        total = precision + self._rho
        return np.asarray(np.sqrt(total * np.log(total / (self._rho * self.alpha**2))) / precision)

    def error_for(self, gap: float) -> float:
        """Return the standard error at which a difference of ``gap`` is just separated from 0."""
        low, high = 0.0, gap
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self.reach(middle) <= gap else (low, middle)
        return low


def separated(gap: Floats, error: Floats, boundary: Boundary, earlier: Bools | None = None) -> Bools:
    """Return which pairs are separated, ``[i, j]`` with i the better, ``(models, models)``.

    The intervals hold at all looks together, and so does their overlap: a pair that was separated at an earlier look
    stays so, unless the ratings have changed places.

    Args:
        gap: rating of the row's contestant minus the column's, Elo points, ``(models, models)``.
        error: its standard error.
        boundary: the reach of intervals.
        earlier: the result at the last look.
    """
    now = gap > boundary.reaches(error)
    return np.asarray(now if earlier is None else now | (earlier & (gap > 0)))


def adjacent_pairs(gap: Floats, error: Floats, boundary: Boundary, above: Bools) -> list[Adjacent]:
    """Return the neighbours in the ranking, the highest first.

    Args:
        gap: rating of the row's contestant minus the column's, Elo points, ``(models, models)``.
        error: its standard error.
        boundary: the reach of intervals.
        above: the separated pairs, as returned by `separated`.
    """
    order = np.argsort(-gap[:, 0], kind="stable").tolist()
    found = []
    for upper, lower in pairwise(order):
        between, its_error = float(gap[upper, lower]), float(error[upper, lower])
        reach = boundary.reach(its_error)
        state: State = "open"
        if above[upper, lower]:
            state = "separated"
        elif between + UNLIKELY * its_error < boundary.gap or reach <= boundary.gap:
            state = "close"
        found.append(Adjacent(upper, lower, between, its_error, reach, state))
    return found


def settled(found: list[Adjacent]) -> bool:
    """Whether no pair of neighbours is open: all gaps that must be separated are."""
    return all(pair.state != "open" for pair in found)


def reach_at_stop(contestants: int) -> float:
    """Return how many standard errors a 95 % interval reaches after the adaptive schedule's stop.

    For two contestants it is that of Brownian motion under the schedule's rules at the worst true gap. With more, a
    difference spans more stopped gaps. `benchmarks/rating_stop.py` measures the coverage.

    Args:
        contestants: number of rated contestants.
    """
    return _OF_TWO + _OF_MORE * math.log(max(contestants, 2) / 2)


def level_at_stop(contestants: int) -> float:
    """Return the nominal level of the ordinary interval that covers 95 % after the adaptive schedule's stop.

    Args:
        contestants: number of rated contestants.
    """
    return 2 * _NORMAL.cdf(reach_at_stop(contestants)) - 1


def widening_at_stop(contestants: int) -> float:
    """Return the width of that interval relative to one of battles chosen beforehand."""
    return reach_at_stop(contestants) / _NORMAL.inv_cdf((1 + LEVEL_AT_STOP) / 2)
