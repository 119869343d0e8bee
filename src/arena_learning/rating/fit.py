"""The maximum likelihood fit of Bradley-Terry and Davidson models on folded battles.

With ``d`` the difference of two log-strengths and ``nu`` the tie parameter, Davidson (1970) gives a win, a
loss and a tie the weights ``exp(d/2)``, ``exp(-d/2)`` and ``nu``; ``nu = 0`` is Bradley-Terry, where a tie
may count as half a win. Both are exponential families in (points, ties), so the log-likelihood is concave and
one gradient and one Hessian serve both. Arrays are ``(pairs, problems)`` or ``(parameters, problems)``: the
problems are resamples of one data set, fitted at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from arena_learning.rating.fold import Games

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from arena_learning.rating.arrays import Floats, Ints
    from arena_learning.rating.fold import Pairs

# A fit has converged when the next step would move no parameter by more than this (natural log units:
# 1e-9 is 2e-7 Elo).
TOLERANCE = 1e-9
_NEWTON_STEPS = 60
_CHORD_STEPS = 30
_LONGEST_STEP = 3.0
_NEWTON_BLOCK_NUMBERS = 4_000_000


class Moments(NamedTuple):
    """Means and variances of one battle of each pair, ``(pairs, problems)``.

    Attributes:
        share: mean points of the lower contestant, less a half.
        variance: variance of the points of the lower contestant.
        tie: probability of a tie (None for Bradley-Terry).
    """

    share: Floats
    variance: Floats
    tie: Floats | None


def moments(difference: Floats, log_nu: Floats | None) -> Moments:
    """Return the moments of battles between contestants whose log-strengths differ by ``difference``.

    Args:
        difference: lower contestant's log-strength less the other's, ``(pairs, problems)``.
        log_nu: log of the tie parameter, ``(problems,)``, or None for Bradley-Terry.
    """
    if log_nu is None:
        share = np.tanh(difference / 2)
        share *= 0.5
        return Moments(share, 0.25 - share * share, None)
    # Divide weights by their largest so that nothing overflows: exp(-|d|) <= 1.
    small = np.exp(-np.abs(difference))
    tie = np.exp(np.minimum(log_nu - np.abs(difference) / 2, 300.0))
    total = 1 + small + tie
    tie /= total
    share = np.sign(difference) * (1 - small) / (2 * total)
    # Points are 1, 0, 1/2: E(points - 1/2)^2 = (1 - tie) / 4.
    return Moments(share, (1 - tie) / 4 - share * share, tie)


def gradient(pairs: Pairs, games: Games, theta: Floats) -> Floats:
    """Return the gradient of the log-likelihood, ``(parameters, problems)``.

    Args:
        pairs: who met whom.
        games: the data, ``(pairs, problems)``.
        theta: log-strengths ``(models, problems)``, with a last row for the log tie parameter if modelled.
    """
    log_nu = None if games.tied is None else theta[-1]
    difference = theta[pairs.lo] - theta[pairs.hi]
    mean = moments(difference, log_nu)
    residual = games.points - games.games * (mean.share + 0.5)
    slope = pairs.scatter(residual, -residual)
    if mean.tie is None or games.tied is None:
        return slope
    return np.vstack([slope, (games.tied - games.games * mean.tie).sum(axis=0)])


def information(pairs: Pairs, games: Games, theta: Floats) -> Floats:
    """Return the Fisher information, minus the Hessian, ``(problems, parameters, parameters)``.

    It is singular along each unconnected group's common shift: see `grounded`.
    """
    log_nu = None if games.tied is None else theta[-1]
    mean = moments(theta[pairs.lo] - theta[pairs.hi], log_nu)
    weight = games.games * mean.variance
    size, problems = theta.shape
    matrix = np.zeros((problems, size, size))
    diagonal = pairs.scatter(weight, weight)
    index = np.arange(pairs.models)
    matrix[:, index, index] = diagonal.T
    matrix[:, pairs.lo, pairs.hi] = -weight.T
    matrix[:, pairs.hi, pairs.lo] = -weight.T
    if mean.tie is not None:
        # Covariance of points and tie: -(share of points above a half) * P(tie).
        mixed = -games.games * mean.share * mean.tie
        column = pairs.scatter(mixed, -mixed).T
        matrix[:, :-1, -1] = column
        matrix[:, -1, :-1] = column
        matrix[:, -1, -1] = (games.games * mean.tie * (1 - mean.tie)).sum(axis=0)
    return matrix


def grounded(matrix: Floats, groups: Ints) -> Floats:
    """Add to the information what pins each group's mean at its start, so that it can be inverted.

    Args:
        matrix: ``(problems, parameters, parameters)``.
        groups: group number of each contestant, ``(models,)``.
    """
    size = len(groups)
    same = groups[:, None] == groups[None, :]
    scale = np.maximum(np.trace(matrix[:, :size, :size], axis1=1, axis2=2) / size, 1e-300)
    out = matrix.copy()
    out[:, :size, :size] += same * (scale / np.bincount(groups).max())[:, None, None]
    return out


def log_likelihood(pairs: Pairs, games: Games, theta: Floats) -> Floats:
    """Return the log-likelihood of each problem up to a constant, ``(problems,)``."""
    difference = theta[pairs.lo] - theta[pairs.hi]
    half = np.abs(difference) / 2
    if games.tied is None:
        log_total = half + np.log1p(np.exp(-2 * half))
        tied: Floats | float = 0.0
    else:
        log_total = np.logaddexp(half + np.log1p(np.exp(-2 * half)), theta[-1])
        tied = games.tied.sum(axis=0) * theta[-1]
    value = (games.points - games.games / 2) * difference - games.games * log_total
    return np.asarray(value.sum(axis=0) + tied)


class NotConvergedError(ArithmeticError):
    """A fit whose last step was still longer than `TOLERANCE`; it does not happen on checked battles."""


def newton(pairs: Pairs, games: Games, groups: Ints, start: Floats | None = None) -> Floats:
    """Fit each problem by damped Newton steps until it has converged.

    Args:
        pairs: who met whom.
        games: the data; every problem must have a finite maximum (see `graph.bridges`).
        groups: group number of each contestant; each group's mean log-strength stays as in ``start``.
        start: where to start, ``(parameters, problems)``; 0 if None.

    Returns:
        Log-strengths ``(models, problems)``, and below them the log tie parameter if ties are modelled.

    Raises:
        NotConvergedError: a step was still longer than `TOLERANCE` after 60 steps.
    """
    size = pairs.models + (games.tied is not None)
    problems = games.games.shape[1]
    theta = np.zeros((size, problems)) if start is None else start.copy()
    block = max(1, _NEWTON_BLOCK_NUMBERS // (size * size))
    for first in range(0, problems, block):
        columns = np.arange(first, min(first + block, problems))
        theta[:, columns] = _newton_block(pairs, games.take(columns), groups, theta[:, columns])
    return theta


def _newton_block(pairs: Pairs, games: Games, groups: Ints, theta: Floats) -> Floats:
    live = np.arange(theta.shape[1])
    out = theta.copy()
    for _ in range(_NEWTON_STEPS):
        data, here = games.take(live), out[:, live]
        slope = gradient(pairs, data, here)
        matrix = grounded(information(pairs, data, here), groups)
        step: Floats = np.linalg.solve(matrix, slope.T[:, :, None])[:, :, 0].T.astype(np.float64)
        length = np.abs(step).max(axis=0, initial=0.0)
        step = np.asarray(
            step * np.minimum(1.0, _LONGEST_STEP / np.maximum(length, 1e-300)), dtype=np.float64
        )
        # Close to the top rounding hides the gain, and Newton needs no damping there.
        out[:, live] = here + np.where(length > 1e-3, _damped(pairs, data, here, step), step)
        live = live[length > TOLERANCE]
        if not len(live):
            return out
    raise NotConvergedError(
        f"{len(live)} of {theta.shape[1]} fits still moved after {_NEWTON_STEPS} Newton steps"
    )


def _damped(pairs: Pairs, games: Games, theta: Floats, step: Floats) -> Floats:
    """Halve each problem's step until it does not lower the likelihood."""
    here = log_likelihood(pairs, games, theta)
    scale = np.ones(theta.shape[1])
    for _ in range(30):
        worse = log_likelihood(pairs, games, theta + scale * step) < here - 1e-9 * np.abs(here)
        if not worse.any():
            break
        scale[worse] /= 2
    return np.asarray(scale * step)


def refit(pairs: Pairs, games: Games, groups: Ints, theta: Floats, inverse: Floats) -> Floats:
    """Fit many resamples of data whose fit is known.

    All resamples share the known fit's inverse information as the matrix of their steps (the chord method),
    so a step of all of them costs one matrix product; steps shrink by about the resamples' relative change of
    the information. Those that do not converge so get Newton steps of their own.

    Args:
        pairs: who met whom.
        games: the resamples, ``(pairs, problems)``.
        groups: group number of each contestant.
        theta: the known fit, ``(parameters,)``.
        inverse: inverse of the grounded information there, ``(parameters, parameters)``.

    Returns:
        Converged parameters, ``(parameters, problems)``.
    """
    out = np.repeat(theta[:, None], games.games.shape[1], axis=1)
    live = np.arange(out.shape[1])
    data, here = games, out
    lost: list[NDArray[np.intp]] = []
    before = np.full(len(live), np.inf)
    for _ in range(_CHORD_STEPS):
        step = inverse @ gradient(pairs, data, here)
        length = np.abs(step).max(axis=0, initial=0.0)
        here = here + step
        out[:, live] = here
        moving = length > TOLERANCE
        # Slower than a factor of two a step: Newton gets there sooner, if this gets there at all.
        slow = moving & (length > 0.5 * before)
        lost.append(live[slow])
        moving &= ~slow
        if not moving.any():
            break
        before = length
        if moving.mean() < 0.5:
            kept = np.flatnonzero(moving)
            live, here, data, before = live[kept], here[:, kept], data.take(kept), length[kept]
            moving = moving[kept]
    else:
        lost.append(live[moving])
    rest = np.unique(np.concatenate(lost))
    if len(rest):
        start = np.repeat(theta[:, None], len(rest), axis=1)
        out[:, rest] = newton(pairs, games.take(rest), groups, start)
    return out
