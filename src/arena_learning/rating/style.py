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
from arena_learning.rating.bradley_terry import draws_result, fit_battles, rate, sandwich_result
from arena_learning.rating.columns import SIDE_COLUMNS
from arena_learning.rating.intervals import Bounds, half_width, percentiles, tail
from arena_learning.rating.result import RatingParams, RatingResult
from arena_learning.rating.style_fit import StyleFit, StyleRows, bootstrap_styles, fit_styles, style_rows

if TYPE_CHECKING:
    import pandas as pd

    from arena_learning.rating.arrays import Floats

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
        plain: ratings without style control.
        controlled: ratings with style control.
        effects: the effect of each style.
    """

    plain: RatingResult
    controlled: RatingResult
    effects: list[StyleEffect]


def rate_with_style(
    table: pd.DataFrame | Battles, params: RatingParams | None = None, plain: RatingResult | None = None
) -> StyleRatings:
    """Rate contestants with and without style control.

    Args:
        table: battles with ``length_a`` and ``length_b``, and any of ``headers_*``, ``lists_*``, ``bold_*``.
        params: how to rate; ``ties`` may be ``half`` or ``drop``. Intervals with style control are the bootstrap's
            where prompts are known and ``interval`` asks for it, by the same resamples as the plain ones; otherwise
            the sandwich's. A resample takes as long as a few passes over all rows.
        plain: the result of `rate` for the same battles and parameters if it is known; otherwise it is computed.

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
    plain = rate(battles, params) if plain is None else plain
    by_prompt = plain.cluster == "prompt"
    fit = fit_battles(battles, params)
    rows = style_rows(battles, fit, style_differences(battles, names), params)
    start = np.concatenate([fit.theta, np.zeros(len(names))])
    found = fit_styles(rows, rows.mass, fit.prior, start)
    models, level = len(battles.models), params.level_for(len(battles.models))
    controlled_fit = fit._replace(theta=found.both[:models])
    betas = found.both[models:]
    if by_prompt and params.interval == "bootstrap" and params.bootstrap:
        draws = bootstrap_styles(battles, fit, rows, found, params)
        controlled = draws_result(battles, controlled_fit, params, draws[:models], battles.prompts, by_prompt)
        bounds = percentiles(draws[models:].T, tail(level, battles.prompts, params.small_sample))
    else:
        covariance, clusters = _sandwich(battles, rows, found, params)
        controlled = sandwich_result(battles, controlled_fit, params, covariance[:models, :models], by_prompt)
        reach = half_width(level, clusters, params.small_sample) * np.sqrt(np.diag(covariance)[models:])
        bounds = Bounds(betas - reach, betas + reach)
    unit = params.scale / math.log(10)
    effects = [
        StyleEffect(name, float(beta * unit), float(low * unit), float(high * unit))
        for name, beta, low, high in zip(names, betas, bounds.lower, bounds.upper, strict=True)
    ]
    return StyleRatings(plain, controlled, effects)


def _sandwich(battles: Battles, rows: StyleRows, found: StyleFit, params: RatingParams) -> tuple[Floats, int]:
    """Return the covariance of strengths and styles, and the number of clusters."""
    inverse = np.linalg.inv(found.information)
    difference = found.both[rows.pairs.lo] - found.both[rows.pairs.hi]
    share = np.tanh((difference[rows.pair] + rows.x @ found.both[rows.pairs.models :]) / 2) / 2
    meat, clusters = _meat(battles, rows, rows.mass * (rows.points - share), params)
    return inverse @ meat @ inverse, clusters


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


def _meat(battles: Battles, rows: StyleRows, score: Floats, params: RatingParams) -> tuple[Floats, int]:
    """Sum the outer products of the clusters' scores; ``score`` is the rows' residual with their mass."""
    pairs, styles = rows.pairs, rows.x.shape[1]
    size = pairs.models + styles
    by_prompt = battles.prompt is not None and params.cluster != "battle"
    if by_prompt:
        assert battles.prompt is not None
        cluster, clusters = battles.prompt[rows.order].astype(np.int64), battles.prompts
    else:
        # Equal battles of a row with a count are separate clusters: each has a share of the row's score.
        cluster, clusters = np.arange(len(battles)), len(battles)
        score = score / np.sqrt(battles.repeats[rows.order])
    out = np.zeros((size, size))
    block = max(1, 8_000_000 // size)
    order = np.argsort(cluster, kind="stable")
    for first in range(0, clusters, block):
        last = min(first + block, clusters)
        mine = order[slice(*np.searchsorted(cluster[order], [first, last]))]
        place = (cluster[mine] - first) * size
        count = (last - first) * size
        table = np.bincount(place + pairs.lo[rows.pair[mine]], weights=score[mine], minlength=count)
        table -= np.bincount(place + pairs.hi[rows.pair[mine]], weights=score[mine], minlength=count)
        for k in range(styles):
            column = place + pairs.models + k
            table += np.bincount(column, weights=score[mine] * rows.x[mine, k], minlength=count)
        scores = table.reshape(-1, size)
        out += scores.T @ scores
    return out, clusters if by_prompt else round(float(battles.repeats.sum()))
