"""The fit of strengths and styles together: once for the battles, and for each resample of their prompts.

A battle's log-odds are the difference of two strengths and a sum of effects times styles. Battles of one pair differ in
their styles, so they cannot be folded as in `arena_learning.rating.fit`: a step needs every row.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from arena_learning.rating.bradley_terry import block_seeds
from arena_learning.rating.fit import TOLERANCE, NotConvergedError, grounded
from arena_learning.rating.fold import Pairs, games_of
from arena_learning.rating.graph import ConnectingBattles
from arena_learning.rating.resample import PromptResampler

if TYPE_CHECKING:
    from arena_learning.rating.arrays import Codes, Floats, Ints
    from arena_learning.rating.battles import Battles
    from arena_learning.rating.bradley_terry import Fit
    from arena_learning.rating.result import RatingParams

# Precision of a normal prior on each effect (its standard deviation is 10, in log-odds). It is negligible beside a few
# hundred battles, and keeps the effect finite where too few battles separate it from the strengths.
STYLE_PRIOR = 0.01
# A resample has converged when its next step is shorter than this (log-odds; 1e-6 is 0.0002 Elo).
_DRAW_TOLERANCE = 1e-6
_DRAW_STEPS = 20
_LONGEST_STEP = 1.0


class StyleRows(NamedTuple):
    """Battles as a fit with styles needs them, sorted by pair.

    Attributes:
        pairs: who met whom.
        groups: group of contestants connected by battles, ``(models,)``.
        pair: pair of each row, ``(rows,)``.
        x: styles of the pair's lower contestant over the other, ``(rows, styles)``.
        points: points of the lower contestant less a half, ``(rows,)``.
        mass: count times weight; 0 for a tie that is left out, ``(rows,)``.
        order: place of each row among the battles, ``(rows,)``.
    """

    pairs: Pairs
    groups: Ints
    pair: Codes
    x: Floats
    points: Floats
    mass: Floats
    order: np.ndarray

    def by_pair(self, values: Floats) -> Floats:
        """Sum rows of each pair: ``(rows, problems)`` to ``(pairs, problems)``; every pair has a row."""
        heads = np.flatnonzero(np.r_[True, self.pair[1:] != self.pair[:-1]])
        return np.asarray(np.add.reduceat(values, heads, axis=0))

    def slope(self, residual: Floats, even: Floats) -> Floats:
        """Return the gradient without the prior on effects, ``(models + styles, problems)``.

        Args:
            residual: of each row, with its mass, ``(rows, problems)``.
            even: of the added even battles of each pair, ``(pairs, problems)``.
        """
        of_pair = self.by_pair(residual) + even
        return np.concatenate([self.pairs.scatter(of_pair, -of_pair), self.x.T @ residual])

    def information(self, weight: Floats, even: Floats) -> Floats:
        """Return the grounded information of strengths and styles, ``(problems, parameters, parameters)``.

        Args:
            weight: variance of each row times its mass, ``(rows, problems)``.
            even: the same of the added even battles of each pair, ``(pairs, problems)``.
        """
        pairs, styles, problems = self.pairs, self.x.shape[1], weight.shape[1]
        models = pairs.models
        matrix = np.zeros((problems, models + styles, models + styles))
        spread = self.by_pair(weight) + even
        index = np.arange(models)
        matrix[:, index, index] = pairs.scatter(spread, spread).T
        matrix[:, pairs.lo, pairs.hi] = matrix[:, pairs.hi, pairs.lo] = -spread.T
        matrix[:, :models, :models] = grounded(matrix[:, :models, :models], self.groups)
        for k in range(styles):
            mine = weight * self.x[:, k : k + 1]
            mixed = self.by_pair(mine)
            column = pairs.scatter(mixed, -mixed).T
            matrix[:, :models, models + k] = matrix[:, models + k, :models] = column
            matrix[:, models:, models + k] = (self.x.T @ mine).T
        matrix[:, models:, models:] += STYLE_PRIOR * np.eye(styles)
        return matrix


def style_rows(battles: Battles, fit: Fit, design: Floats, params: RatingParams) -> StyleRows:
    """Return the rows for a fit; ``design`` holds the first contestant's styles over the second's."""
    pair = fit.folded.row_cell // 3
    order = np.argsort(pair, kind="stable")
    sign = np.where(battles.a < battles.b, 1.0, -1.0)[order]
    mass = np.ones(len(battles)) if battles.mass is None else battles.mass.copy()
    if params.ties == "drop":
        mass[battles.points == 1] = 0.0
    points = (fit.folded.row_cell[order] % 3) / 2 - 0.5
    return StyleRows(
        fit.folded.pairs, fit.groups, pair[order], design[order] * sign[:, None], points, mass[order], order
    )


class StyleFit(NamedTuple):
    """One fit: strengths and effects, ``(models + styles,)``, and the grounded information at its last step."""

    both: Floats
    information: Floats


def fit_styles(rows: StyleRows, mass: Floats, even: Floats, start: Floats) -> StyleFit:
    """Fit one problem by Newton steps.

    Args:
        rows: the battles.
        mass: of each row in this problem, ``(rows,)``.
        even: even battles added to each pair, ``(pairs, 1)``; they count as battles of equal style.
        start: where to start, ``(models + styles,)``.

    Raises:
        NotConvergedError: it has not converged after 100 steps; it does not happen on checked battles.
    """
    both, models = start[:, None].copy(), rows.pairs.models
    for _ in range(100):
        share, prior = _shares(rows, both)
        slope = rows.slope(mass[:, None] * (rows.points[:, None] - share), -even * prior)
        slope[models:] -= STYLE_PRIOR * both[models:]
        matrix = rows.information(mass[:, None] * (0.25 - share**2), even * (0.25 - prior**2))
        step = np.linalg.solve(matrix[0], slope)
        longest = float(np.abs(step).max())
        both = both + step * min(1.0, _LONGEST_STEP / max(longest, 1e-300))
        if longest < TOLERANCE:
            return StyleFit(both[:, 0], matrix[0])
    raise NotConvergedError("the fit with styles has not converged after 100 Newton steps")


def _shares(rows: StyleRows, both: Floats) -> tuple[Floats, Floats]:
    """Return the expected points less a half of each row, and of an even battle of each pair, ``(..., problems)``."""
    gap = both[rows.pairs.lo] - both[rows.pairs.hi]
    difference = gap[rows.pair]
    difference += rows.x @ both[rows.pairs.models :]
    difference /= 2
    np.tanh(difference, out=difference)
    difference /= 2
    return difference, np.tanh(gap / 2) / 2


def bootstrap_styles(
    battles: Battles, fit: Fit, rows: StyleRows, found: StyleFit, params: RatingParams
) -> Floats:
    """Fit the resamples of prompts that `rate` draws for the same battles and parameters.

    Each resample takes steps with its own information at the fit of all battles, which stays fixed; the first of them
    is a Newton step. One that does not converge so gets a fit of its own.

    Args:
        battles: battles with prompts.
        fit: their fit without styles.
        rows: their rows.
        found: their fit with styles.
        params: ``bootstrap`` and ``seed`` are read.

    Returns:
        Strengths and effects of each resample, ``(models + styles, bootstrap)``.
    """
    resampler = PromptResampler(battles, fit.folded)
    assert battles.prompt is not None
    prompt = battles.prompt[rows.order]
    met = fit.folded.cells.reshape(-1, 3).sum(axis=1)
    lifeline = ConnectingBattles(rows.pairs, fit.games, met, rows.groups)

    def one(job: tuple[int, np.random.SeedSequence]) -> Floats:
        number, seed = job
        times = resampler.times(np.random.default_rng(seed), number)
        games = games_of(resampler.cells_of(times), params.ties).plus_even(fit.prior)
        even = fit.prior + lifeline.connect(games).games - games.games
        return _fit_draws(rows, rows.mass[:, None] * times[prompt], even, found)

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        return np.concatenate(list(pool.map(one, block_seeds(fit.folded, params))), axis=1)


def _fit_draws(rows: StyleRows, mass: Floats, even: Floats, found: StyleFit) -> Floats:
    """Fit resamples: ``mass`` is ``(rows, problems)``, ``even`` ``(pairs, problems)``."""
    models = rows.pairs.models
    share, prior = _shares(rows, found.both[:, None])
    inverse = np.linalg.inv(rows.information(mass * (0.25 - share**2), even * (0.25 - prior**2)))
    out = np.repeat(found.both[:, None], mass.shape[1], axis=1)
    live, before = np.arange(out.shape[1]), np.full(out.shape[1], np.inf)
    for _ in range(_DRAW_STEPS):
        here = out[:, live]
        share, prior = _shares(rows, here)
        np.subtract(rows.points[:, None], share, out=share)
        share *= mass
        slope = rows.slope(share, -even * prior)
        slope[models:] -= STYLE_PRIOR * here[models:]
        step = np.einsum("bij,jb->ib", inverse, slope)
        length = np.abs(step).max(axis=0)
        out[:, live] = here + step
        slow = (length > _DRAW_TOLERANCE) & (length > 0.5 * before)
        kept = np.flatnonzero((length > _DRAW_TOLERANCE) & ~slow)
        for place in np.flatnonzero(slow):
            out[:, live[place]] = fit_styles(rows, mass[:, place], even[:, [place]], found.both).both
        if not len(kept):
            return out
        if len(kept) < len(live):
            live, before, inverse = live[kept], length[kept], inverse[kept]
            mass, even = mass[:, kept], even[:, kept]
        else:
            before = length
    for place, column in enumerate(live):
        out[:, column] = fit_styles(rows, mass[:, place], even[:, [place]], found.both).both
    return out
