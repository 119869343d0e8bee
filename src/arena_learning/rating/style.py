"""Style control: ratings adjusted for the answers' length and markdown, beside the plain ones.

The log-odds of a win are ``strength_a - strength_b + sum_k beta_k * x_k``. ``x_k`` says how much longer or more
formatted the first answer is, standardised over the battles: ``(l_a - l_b) / (l_a + l_b)`` for lengths, and the same of
the counts of headers, list items and bold text per unit of length plus one, as in Chatbot Arena (LMSYS, "Does style
matter?", August 2024). Strengths and betas are fitted together by Newton steps.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from arena_learning.core import ArenaError
from arena_learning.rating.battles import Battles, battles_from_frame
from arena_learning.rating.bradley_terry import fit_battles, rate, sandwich_result
from arena_learning.rating.columns import SIDE_COLUMNS
from arena_learning.rating.fit import TOLERANCE, NotConvergedError, grounded
from arena_learning.rating.intervals import half_width
from arena_learning.rating.result import RatingParams, RatingResult

if TYPE_CHECKING:
    import pandas as pd

    from arena_learning.rating.arrays import Floats
    from arena_learning.rating.bradley_terry import Fit

# Precision of a normal prior on each effect (its standard deviation is 10, in log-odds). It is negligible beside a few
# hundred battles, and keeps the effect finite where too few battles separate it from the strengths.
STYLE_PRIOR = 0.01
STYLES = tuple(name for name in SIDE_COLUMNS if name != "score")


class StyleEffect(NamedTuple):
    """The effect of a style on verdicts.

    Attributes:
        name: ``length``, ``headers``, ``lists`` or ``bold``.
        elo: Elo points that an answer gains when its style is one standard deviation above the other's.
        lower: lower end of the interval.
        upper: upper end.
    """

    name: str
    elo: float
    lower: float
    upper: float


class StyleRatings(NamedTuple):
    """Ratings with and without style control, side by side.

    Attributes:
        plain: ratings without style control (sandwich intervals).
        controlled: ratings with style control (sandwich intervals).
        effects: the effect of each style.
    """

    plain: RatingResult
    controlled: RatingResult
    effects: list[StyleEffect]


def rate_with_style(table: pd.DataFrame | Battles, params: RatingParams | None = None) -> StyleRatings:
    """Rate contestants with and without style control.

    Args:
        table: battles with ``length_a`` and ``length_b``, and any of ``headers_*``, ``lists_*``, ``bold_*``.
        params: how to rate; ``ties`` may be ``half`` or ``drop``, intervals are always the sandwich's.

    Raises:
        ArenaError: there is no style column, ties are ``davidson``, or `rate` raises it.

    Example:
        ratings = rate_with_style(read_battles("votes.jsonl"))
        ratings.controlled.to_frame(), ratings.effects
    """
    params = params or RatingParams()
    if params.ties == "davidson":
        raise ArenaError("style control does not support ties: davidson", hint="use ties: half or drop")
    battles = table if isinstance(table, Battles) else battles_from_frame(table)
    names = [name for name in STYLES if name in battles.sides]
    if not names:
        raise ArenaError(
            "there is no style column", hint="add length_a and length_b (and headers_*, lists_*, bold_*)"
        )
    plain = rate(battles, RatingParams(**{**vars(params), "interval": "sandwich"}))
    fit = fit_battles(battles, params)
    design = style_differences(battles, names)
    theta, beta, covariance, clusters = _fit(battles, fit, design, params)
    models, unit = len(battles.models), params.scale / math.log(10)
    controlled = sandwich_result(
        battles, fit._replace(theta=theta), params, covariance[:models, :models], plain.cluster == "prompt"
    )
    level = params.level_for(models)
    reach = half_width(level, clusters, params.small_sample) * np.sqrt(np.diag(covariance)[models:])
    effects = [
        StyleEffect(name, float(b * unit), float((b - r) * unit), float((b + r) * unit))
        for name, b, r in zip(names, beta, reach, strict=True)
    ]
    return StyleRatings(plain, controlled, effects)


def style_differences(battles: Battles, names: list[str]) -> Floats:
    """Return the standardised difference of each style, ``(rows, styles)``; 0 if it never differs."""
    columns = []
    for name in names:
        side = battles.sides[name]
        a, b = side.a, side.b
        if name != "length" and "length" in battles.sides:
            length = battles.sides["length"]
            a, b = a / (length.a + 1), b / (length.b + 1)
        total = a + b
        columns.append(np.divide(a - b, total, out=np.zeros(len(a)), where=total > 0))
    table = np.stack(columns, axis=1)
    mass = battles.repeats
    # Around 0, not around the mean: swapping the sides of a battle must not change the fit.
    spread = np.sqrt((mass[:, None] * table**2).sum(axis=0) / mass.sum())
    return np.asarray(table / np.where(spread > 0, spread, 1.0))


def _fit(
    battles: Battles, fit: Fit, design: Floats, params: RatingParams
) -> tuple[Floats, Floats, Floats, int]:
    """Fit strengths and styles together; returns them, their covariance (log units) and clusters."""
    pairs, models, styles = fit.folded.pairs, len(battles.models), design.shape[1]
    pair = fit.folded.row_cell // 3
    sign = np.where(battles.a < battles.b, 1.0, -1.0)
    x = design * sign[:, None]
    points = (fit.folded.row_cell % 3) / 2
    mass = np.ones(len(battles)) if battles.mass is None else battles.mass.copy()
    if params.ties == "drop":
        mass[battles.points == 1] = 0.0
    theta, beta = fit.theta.copy(), np.zeros(styles)
    for _ in range(100):
        residual, variance = _row_moments((theta[pairs.lo] - theta[pairs.hi])[pair] + x @ beta, points)
        # The ties of the prior are battles with equal style.
        gap = (theta[pairs.lo] - theta[pairs.hi])[:, None]
        prior_residual, prior_variance = _row_moments(gap, np.float64(0.5))
        of_pair = _sum(pair, mass * residual, len(pairs))[:, None] + fit.prior * prior_residual
        slope = np.concatenate(
            [pairs.scatter(of_pair, -of_pair)[:, 0], x.T @ (mass * residual) - STYLE_PRIOR * beta]
        )
        weight = mass * variance
        spread = _sum(pair, weight, len(pairs))[:, None] + fit.prior * prior_variance
        matrix = _information(fit, x, weight, pair, spread)
        step = np.linalg.solve(matrix, slope)
        longest = float(np.abs(step).max())
        step *= min(1.0, 1.0 / max(longest, 1e-300))
        theta, beta = theta + step[:models], beta + step[models:]
        if longest < TOLERANCE:
            break
    else:
        raise NotConvergedError("the fit with styles has not converged after 100 Newton steps")
    inverse = np.linalg.inv(matrix)
    meat, clusters = _meat(battles, fit, x, mass * residual, params)
    return theta, beta, inverse @ meat @ inverse, clusters


def _sum(place: np.ndarray, values: Floats, size: int) -> Floats:
    return np.bincount(place, weights=values, minlength=size).astype(np.float64)


def _row_moments(difference: Floats, points: Floats | np.float64) -> tuple[Floats, Floats]:
    share = np.tanh(difference / 2) / 2
    return points - 0.5 - share, 0.25 - share**2


def _information(fit: Fit, x: Floats, weight: Floats, pair: np.ndarray, spread: Floats) -> Floats:
    """Return the information of strengths and styles, grounded, ``(models + styles, models + styles)``."""
    pairs, styles = fit.folded.pairs, x.shape[1]
    models = pairs.models
    matrix = np.zeros((models + styles, models + styles))
    top = np.zeros((1, models, models))
    index = np.arange(models)
    top[0, index, index] = pairs.scatter(spread, spread)[:, 0]
    top[0, pairs.lo, pairs.hi] = top[0, pairs.hi, pairs.lo] = -spread[:, 0]
    matrix[:models, :models] = grounded(top, fit.groups)[0]
    mixed = np.stack([_sum(pair, weight * x[:, k], len(pairs)) for k in range(styles)], axis=1)
    matrix[:models, models:] = pairs.scatter(mixed, -mixed)
    matrix[models:, :models] = matrix[:models, models:].T
    matrix[models:, models:] = (x * weight[:, None]).T @ x
    matrix[models:, models:] += STYLE_PRIOR * np.eye(styles)
    return matrix


def _meat(battles: Battles, fit: Fit, x: Floats, score: Floats, params: RatingParams) -> tuple[Floats, int]:
    """Sum the outer products of the clusters' scores."""
    pairs, styles = fit.folded.pairs, x.shape[1]
    size = pairs.models + styles
    pair = fit.folded.row_cell // 3
    by_prompt = battles.prompt is not None and params.cluster != "battle"
    if by_prompt:
        assert battles.prompt is not None
        cluster, clusters = battles.prompt.astype(np.int64), battles.prompts
    else:
        # Equal battles of a row with a count are separate clusters: each has a share of the row's score.
        cluster, clusters = np.arange(len(battles)), len(battles)
        score = score / np.sqrt(battles.repeats)
    out = np.zeros((size, size))
    block = max(1, 8_000_000 // size)
    order = np.argsort(cluster, kind="stable")
    for first in range(0, clusters, block):
        last = min(first + block, clusters)
        rows = order[slice(*np.searchsorted(cluster[order], [first, last]))]
        place = (cluster[rows] - first) * size
        count = (last - first) * size
        table = np.bincount(place + pairs.lo[pair[rows]], weights=score[rows], minlength=count)
        table -= np.bincount(place + pairs.hi[pair[rows]], weights=score[rows], minlength=count)
        for k in range(styles):
            column = place + pairs.models + k
            table += np.bincount(column, weights=score[rows] * x[rows, k], minlength=count)
        scores = table.reshape(-1, size)
        out += scores.T @ scores
    return out, clusters if by_prompt else round(float(battles.repeats.sum()))
