"""Rate contestants from battles: fold, fit, resample, diagnose."""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from arena_learning.core import ArenaError, suggest
from arena_learning.rating.battles import Battles, battles_from_frame
from arena_learning.rating.diagnosis import diagnose
from arena_learning.rating.fit import grounded, information, newton, refit
from arena_learning.rating.fold import Folded, Games, fold, games_of
from arena_learning.rating.graph import ConnectingBattles, bridges, groups_that_met
from arena_learning.rating.intervals import (
    Bounds,
    above_by_draws,
    half_width,
    percentiles,
    ranks,
    tail,
)
from arena_learning.rating.resample import BLOCK, BattleResampler, PromptResampler, Resampler
from arena_learning.rating.result import CENTRE, Rating, RatingParams, RatingResult
from arena_learning.rating.sandwich import meat_by_battle, meat_by_prompt

if TYPE_CHECKING:
    import pandas as pd

    from arena_learning.rating.arrays import Floats, Ints

_BLOCK_NUMBERS = 8_000_000


class Fit(NamedTuple):
    """A fit of the whole data.

    Attributes:
        folded: the data.
        games: the data as fitted: one problem, with the prior's even battles.
        prior: these even battles, ``(pairs, 1)``; all 0 if none were needed.
        parts: strongly connected part of each contestant, ``(models,)``.
        groups: group of contestants connected by battles, ``(models,)``.
        theta: log-strengths, each group's mean 0, then the log tie parameter, ``(parameters,)``.
        inverse: inverse of the grounded information, ``(parameters, parameters)``.
    """

    folded: Folded
    games: Games
    prior: Floats
    parts: Ints
    groups: Ints
    theta: Floats
    inverse: Floats


def rate(table: pd.DataFrame | Battles, params: RatingParams | None = None, **settings: Any) -> RatingResult:
    """Rate contestants by a Bradley-Terry model of their battles.

    The probability that a beats b is ``1 / (1 + 10 ** ((rating_b - rating_a) / scale))``. Ratings are the maximum
    likelihood estimate (Hunter 2004). They are finite for undefeated and winless contestants too, by a prior that
    connected data do not get (`arena_learning.rating.graph`).

    Args:
        table: battles as a table (see `battles_from_frame`) or as read by `read_battles`.
        params: how to rate; by default `RatingParams()`.
        settings: fields of `RatingParams` that replace those of ``params``.

    Returns:
        Ratings in Elo points with intervals, and a diagnosis of what limits them.

    Raises:
        ArenaError: a malformed table or invalid parameters.

    Example:
        >>> import pandas as pd
        >>> battles = pd.DataFrame({"model_a": ["x", "x", "x"], "model_b": ["y", "y", "y"]})
        >>> result = rate(battles.assign(winner=["model_a", "model_a", "model_b"]), anchor=("y", 1000))
        >>> round(result["x"].rating)  # won 2 of 3: 1000 + 400 * log10(2)
        1120
    """
    params = _with_settings(params or RatingParams(), settings)
    battles = table if isinstance(table, Battles) else battles_from_frame(table)
    if params.anchor is not None and params.anchor[0] not in battles.models:
        name = params.anchor[0]
        raise ArenaError(f"the anchor {name!r} has no battle", hint=suggest(name, battles.models))
    if params.cluster == "prompt" and battles.prompt is None:
        raise ArenaError(
            "there is no column 'prompt_id' to cluster by", hint="add it, or use cluster: battle"
        )
    by_prompt = battles.prompt is not None and params.cluster != "battle"
    fit = fit_battles(battles, params)
    if params.interval == "bootstrap" and params.bootstrap:  # with 0 resamples: the sandwich interval
        return _by_bootstrap(battles, fit, params, by_prompt)
    return by_sandwich(battles, fit, params, by_prompt)


def _with_settings(params: RatingParams, settings: dict[str, Any]) -> RatingParams:
    known = [one.name for one in fields(RatingParams)]
    for name in settings:
        if name not in known:
            raise ArenaError(f"rate has no setting '{name}'", hint=suggest(name, known))
    return replace(params, **settings)


def fit_battles(battles: Battles, params: RatingParams) -> Fit:
    """Fit the whole data once; converged, or an error."""
    folded = fold(battles)
    pairs = folded.pairs
    cells = folded.cells[:, None]
    games = games_of(cells, params.ties)
    met = cells.reshape(-1, 3).sum(axis=1)
    groups = _anchor_first(groups_that_met(pairs), battles.models, params)
    prior, parts = bridges(pairs, games, met)
    games = games.plus_even(prior)
    theta = newton(pairs, games, groups)
    matrix = grounded(information(pairs, games, theta), groups)[0]
    return Fit(folded, games, prior, parts, groups, theta[:, 0], np.linalg.inv(matrix))


def _anchor_first(groups: Ints, models: tuple[str, ...], params: RatingParams) -> Ints:
    """Number the groups: the anchor's first, the others by size."""
    size = np.bincount(groups).astype(float)
    if params.anchor is not None:
        size[groups[models.index(params.anchor[0])]] = math.inf
    place = np.empty(len(size), dtype=np.int64)
    place[np.argsort(-size, kind="stable")] = np.arange(len(size))
    return place[groups]


def _elo(theta: Floats, fit: Fit, models: tuple[str, ...], params: RatingParams) -> Floats:
    """Turn log-strengths ``(models or more, problems)`` into ratings ``(problems, models)``."""
    ratings = theta[: len(models)].T * (params.scale / math.log(10)) + CENTRE
    if params.anchor is not None:
        index = models.index(params.anchor[0])
        mine = fit.groups == fit.groups[index]
        ratings[:, mine] += params.anchor[1] - ratings[:, index : index + 1]
        ratings[:, index] = params.anchor[1]  # exactly
    return ratings


def bootstrap_thetas(battles: Battles, fit: Fit, params: RatingParams, by_prompt: bool) -> tuple[Floats, int]:
    """Fit every resample.

    Returns:
        Parameters ``(parameters, bootstrap)``, and the number of clusters.
    """
    folded = fit.folded
    resampler: Resampler = PromptResampler(battles, folded) if by_prompt else BattleResampler(battles, folded)
    met = folded.cells.reshape(-1, 3).sum(axis=1)
    lifeline = ConnectingBattles(folded.pairs, fit.games, met, fit.groups)

    def one(job: tuple[int, np.random.SeedSequence]) -> Floats:
        number, seed = job
        cells = resampler.draw(np.random.default_rng(seed), number)
        games = games_of(cells, params.ties).plus_even(fit.prior)
        return refit(folded.pairs, lifeline.connect(games), fit.groups, fit.theta, fit.inverse)

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        return np.concatenate(list(pool.map(one, block_seeds(folded, params))), axis=1), resampler.clusters


def block_seeds(folded: Folded, params: RatingParams) -> list[tuple[int, np.random.SeedSequence]]:
    """Return the number of resamples and the seed of each block: equal blocks draw equal resamples."""
    block = max(1, min(BLOCK, _BLOCK_NUMBERS // len(folded.cells)))
    sizes = [min(block, params.bootstrap - first) for first in range(0, params.bootstrap, block)]
    return list(zip(sizes, np.random.SeedSequence(params.seed).spawn(len(sizes)), strict=True))


def _by_bootstrap(battles: Battles, fit: Fit, params: RatingParams, by_prompt: bool) -> RatingResult:
    thetas, clusters = bootstrap_thetas(battles, fit, params, by_prompt)
    return draws_result(battles, fit, params, thetas, clusters, by_prompt)


def draws_result(
    battles: Battles, fit: Fit, params: RatingParams, thetas: Floats, clusters: int, by_prompt: bool
) -> RatingResult:
    """Return the result for a fit and the log-strengths of its resamples, ``(models or more, resamples)``."""
    draws = _elo(thetas, fit, battles.models, params)
    outside = tail(params.level_for(len(battles.models)), clusters, params.small_sample)
    above = above_by_draws(draws, outside)
    bounds = percentiles(draws, outside)
    return _result(battles, fit, params, bounds, above, draws=draws, clusters=clusters, by_prompt=by_prompt)


def by_sandwich(battles: Battles, fit: Fit, params: RatingParams, by_prompt: bool) -> RatingResult:
    """Rate battles with a known fit by the sandwich interval; ``by_prompt``: cluster by prompt, else by battle."""
    meat = (meat_by_prompt if by_prompt else meat_by_battle)(battles, fit.folded, fit.theta, params.ties)
    size = len(battles.models)
    return sandwich_result(battles, fit, params, (fit.inverse @ meat @ fit.inverse)[:size, :size], by_prompt)


def sandwich_result(
    battles: Battles,
    fit: Fit,
    params: RatingParams,
    covariance: Floats,
    by_prompt: bool,
    clusters: int | None = None,
) -> RatingResult:
    """Return the result for a fit and the covariance of its log-strengths, ``(models, models)``.

    ``clusters``: number of prompts or battles that the covariance rests on; by default those of ``battles``.
    """
    if clusters is None:
        clusters = battles.prompts if by_prompt else round(float(battles.repeats.sum()))
    size = len(battles.models)
    covariance = covariance * (params.scale / math.log(10)) ** 2
    if params.anchor is not None:
        index = battles.models.index(params.anchor[0])
        change = np.eye(size)
        change[fit.groups == fit.groups[index], index] -= 1
        covariance = change @ covariance @ change.T
    elo = _elo(fit.theta[:, None], fit, battles.models, params)[0]
    factor = half_width(params.level_for(size), clusters, params.small_sample)
    reach = factor * np.sqrt(np.maximum(np.diag(covariance), 0))
    variance = np.diag(covariance)
    spread = np.sqrt(np.maximum(variance[:, None] + variance[None, :] - 2 * covariance, 0))
    above = elo[:, None] - elo[None, :] - factor * spread > 0
    bounds = Bounds(elo - reach, elo + reach)
    return _result(
        battles, fit, params, bounds, above, covariance=covariance, clusters=clusters, by_prompt=by_prompt
    )


def _result(
    battles: Battles,
    fit: Fit,
    params: RatingParams,
    bounds: Bounds,
    above: np.ndarray,
    *,
    clusters: int,
    by_prompt: bool,
    draws: Floats | None = None,
    covariance: Floats | None = None,
) -> RatingResult:
    models, size = battles.models, len(battles.models)
    elo = _elo(fit.theta[:, None], fit, models, params)[0]
    rank = ranks(above, fit.groups)
    wins, tied, losses = outcomes(battles, fit.folded)
    rows = [
        Rating(
            model=models[i],
            rating=float(elo[i]),
            lower=float(bounds.lower[i]),
            upper=float(bounds.upper[i]),
            battles=int(wins[i] + tied[i] + losses[i]),
            wins=int(wins[i]),
            ties=int(tied[i]),
            losses=int(losses[i]),
            rank_lower=int(rank.best[i]),
            rank_upper=int(rank.worst[i]),
            group=int(fit.groups[i]),
        )
        for i in sorted(range(size), key=lambda i: (fit.groups[i], -elo[i], models[i]))
    ]
    won, played = _crosstable(fit.folded)
    return RatingResult(
        ratings=rows,
        diagnosis=diagnose(
            battles.models, fit.groups, fit.parts, (wins, tied, losses), clusters, by_prompt, params
        ),
        params=params,
        models=models,
        elo=elo,
        draws=draws,
        covariance=covariance,
        groups=fit.groups,
        clusters=clusters,
        cluster="prompt" if by_prompt else "battle",
        won=won,
        played=played,
        log_nu=float(fit.theta[-1]) if params.ties == "davidson" else None,
    )


def outcomes(battles: Battles, folded: Folded) -> tuple[Ints, Ints, Ints]:
    """Count each contestant's wins, ties and losses (battles, not weights), ``(models,)`` each."""
    cells = folded.cells
    if battles.weight is not None:
        cells = np.bincount(folded.row_cell, weights=battles.count, minlength=len(cells)).astype(np.float64)
    lost, tied, won = (cells.reshape(-1, 3)[:, i : i + 1] for i in range(3))
    scatter = folded.pairs.scatter
    counts = (scatter(won, lost), scatter(tied, tied), scatter(lost, won))
    wins, ties, losses = (np.rint(count[:, 0]).astype(np.int64) for count in counts)
    return wins, ties, losses


def _crosstable(folded: Folded) -> tuple[Floats, Floats]:
    pairs, games = folded.pairs, games_of(folded.cells[:, None], "half")
    won, played = np.zeros((pairs.models, pairs.models)), np.zeros((pairs.models, pairs.models))
    won[pairs.lo, pairs.hi] = games.points[:, 0]
    won[pairs.hi, pairs.lo] = (games.games - games.points)[:, 0]
    played[pairs.lo, pairs.hi] = played[pairs.hi, pairs.lo] = games.games[:, 0]
    return won, played
