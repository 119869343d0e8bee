"""Choose the next battles by their information about the ranking: a greedy optimal design.

The aim is to separate true neighbours that are at least a gap apart, although the true neighbours are not known yet. So
rankings are drawn from the fit's distribution of ratings; contestants that are adjacent in enough of them are *likely
neighbours*. The differences of likely neighbours that are not separated are targeted, the widest first, each taken as
wide as its error allows. Battles are then assigned, a few at a time, to the pair whose battle most lowers the errors of
these differences, by the Fisher information of the fit: battles with others count as far as they inform about the two.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from arena_learning.rating.bradley_terry import by_sandwich, fit_battles
from arena_learning.rating.result import RatingParams

if TYPE_CHECKING:
    from arena_learning.rating.arrays import Bools, Floats, Ints
    from arena_learning.rating.battles import Battles
    from arena_learning.rating.stopping import Boundary

# Battles are assigned in at least this many portions, each to the then most informative pair.
_PORTIONS = 40
# How much more weight differences get the further they are from their target.
_SHARPNESS = 4
# A batch ends early when it is expected to reach its targets, but not below this share of its size.
_LEAST_SHARE = 0.1
# Number of rankings drawn, and the share of them in which two must be adjacent to be likely neighbours.
_DRAWS = 128
LIKELY = 0.1
# Standard errors that are added to a gap's estimate for its target.
OPTIMISM = 1.5
# Differences at least this share of the widest target are treated together.
WIDEST = 0.85


class Standing(NamedTuple):
    """The ranking so far.

    Attributes:
        elo: ratings, ``(models,)``.
        covariance: their robust covariance, Elo points squared, ``(models, models)``.
        inverse: inverse of the fit's information, log units, ``(models, models)``; more battles lower it.
        information: Fisher information of one more battle of each pair, ``(models, models)``.
        groups: group of contestants connected by battles, ``(models,)``.
    """

    elo: Floats
    covariance: Floats
    inverse: Floats
    information: Floats
    groups: Ints

    @property
    def gap(self) -> Floats:
        """Rating of the row's contestant minus the column's, Elo points, ``(models, models)``."""
        return np.asarray(self.elo[:, None] - self.elo[None, :])

    @property
    def error(self) -> Floats:
        """Standard error of each difference, Elo points, ``(models, models)``."""
        return np.sqrt(np.maximum(_difference_variances(self.covariance), 1e-12))


def _difference_variances(covariance: Floats) -> Floats:
    own = np.diag(covariance)
    return np.asarray(own[:, None] + own[None, :] - 2 * covariance)


def stand(battles: Battles, scale: float) -> Standing:
    """Rate the battles so far.

    Args:
        battles: the battles of all contestants to rank.
        scale: Elo points for tenfold odds.
    """
    chosen = RatingParams(scale=scale, interval="sandwich")
    fit = fit_battles(battles, chosen)
    result = by_sandwich(battles, fit, chosen, battles.prompt is not None)
    assert result.covariance is not None
    information = battle_information(result.elo, scale)
    return Standing(result.elo, result.covariance, fit.inverse, information, result.groups)


def battle_information(elo: Floats, scale: float) -> Floats:
    """Return the Fisher information of one battle of each pair, log units, ``(models, models)``."""
    share = 1 / (1 + 10.0 ** ((elo[None, :] - elo[:, None]) / scale))
    information = share * (1 - share)
    np.fill_diagonal(information, 0)
    return np.asarray(information)


def likely_neighbours(standing: Standing, generator: np.random.Generator) -> Bools:
    """Return which pairs may be adjacent, ``[i, j]`` with i rated above j, ``(models, models)``.

    Rankings are drawn from a normal distribution around the ratings. Pairs adjacent by the ratings themselves always
    count.
    """
    size = len(standing.elo)
    values, vectors = np.linalg.eigh(standing.covariance)
    root = vectors * np.sqrt(np.maximum(values, 0))
    drawn = standing.elo + generator.standard_normal((_DRAWS, size)) @ root.T
    order = np.argsort(-drawn, axis=1)
    share = np.zeros((size, size))
    np.add.at(share, (order[:, :-1].ravel(), order[:, 1:].ravel()), 1 / _DRAWS)
    ranked = np.argsort(-standing.elo, kind="stable")
    share[ranked[:-1], ranked[1:]] = 1
    place = np.argsort(ranked)
    return np.asarray((share + share.T >= LIKELY) & (place[:, None] < place[None, :]))


def allocate(
    standing: Standing,
    above: Bools,
    room: Ints,
    batch: int,
    boundary: Boundary,
    scale: float,
    *,
    generator: np.random.Generator,
    newcomers: Bools | None = None,
) -> Ints:
    """Assign battles to the pairs that are most informative about the ranking.

    Args:
        standing: the ranking so far.
        above: ``above[i, j]``: i is separated from j and better, ``(models, models)``.
        room: battles that each pair can still play, ``(models, models)``, upper triangle.
        batch: the most battles to assign.
        boundary: the reach of intervals.
        scale: Elo points for tenfold odds.
        generator: draws the rankings.
        newcomers: whether each contestant is new, ``(models,)``; then only their differences are targeted.

    Returns:
        Number of battles of each pair, ``(models, models)``, upper triangle.
    """
    likely = likely_neighbours(standing, generator)
    if newcomers is not None:
        likely &= newcomers[:, None] | newcomers[None, :]
    asked = likely & ~above
    upper, lower = np.nonzero(asked if asked.any() else likely)
    error, gap = standing.error[upper, lower], standing.gap[upper, lower]
    hoped = gap + OPTIMISM * error
    widest = hoped >= WIDEST * hoped.max()
    upper, lower, error, gap = upper[widest], lower[widest], error[widest], gap[widest]
    unit = scale / math.log(10)
    fitted = _difference_variances(standing.inverse)[upper, lower]
    # Battles of one prompt are alike, so errors are larger than the fit's: scale by the ratio observed so far.
    inflation = error**2 / np.maximum(fitted * unit**2, 1e-12)
    # Target: separate each difference from 0 if it is one error wider than estimated, but none finer than the gap.
    told = [boundary.error_for(max(one, boundary.gap)) for one in gap + error]
    wanted = (np.array(told) / unit) ** 2 / inflation
    return spread_counts(standing.inverse, standing.information, (upper, lower), wanted, room, batch)


def spread_counts(
    inverse: Floats,
    information: Floats,
    asked: tuple[np.ndarray, np.ndarray],
    wanted: Floats,
    room: Ints,
    batch: int,
) -> Ints:
    """Assign battles to lower the variances that are furthest above their targets.

    Args:
        inverse: covariance of log-strengths so far, ``(models, models)``.
        information: Fisher information of one battle of each pair, ``(models, models)``.
        asked: indices of both contestants of each difference, ``(differences,)`` each.
        wanted: target variance of each difference, ``(differences,)``.
        room: battles that each pair can still play, upper triangle.
        batch: the most battles to assign; fewer if they are expected to reach the targets.
    """
    upper, lower = asked
    covariance, room = inverse.copy(), np.triu(room, 1).copy()
    counts = np.zeros_like(room)
    portion, handed = math.ceil(batch / max(_PORTIONS, 2 * len(upper))), 0
    least = math.ceil(_LEAST_SHARE * batch)
    while handed < batch and room.any():
        reach = covariance[:, upper] - covariance[:, lower]
        variance = reach[upper, np.arange(len(upper))] - reach[lower, np.arange(len(upper))]
        if handed >= least and (variance <= wanted).all():
            break  # enough until the next look
        urgency = (variance / wanted) ** _SHARPNESS
        pull = reach * np.sqrt(urgency / variance)
        # One battle of i and j lowers log variance of k by information_ij * (reach_ik - reach_jk)^2 /
        # variance_k.
        square = (pull**2).sum(axis=1)
        gain = information * (square[:, None] + square[None, :] - 2 * pull @ pull.T)
        i, j = divmod(int(np.argmax(np.where(room > 0, gain, -1.0))), len(room))
        number = min(portion, batch - handed, int(room[i, j]))
        counts[i, j] += number
        room[i, j] -= number
        handed += number
        column = covariance[:, i] - covariance[:, j]
        added = number * information[i, j]
        covariance -= np.outer(column, column) * (added / (1 + added * (column[i] - column[j])))
    return counts
