"""Intervals: coverage on simulated arenas, both ways of clustering, differences and ranks."""

import math
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest

from arena_learning.rating import RatingParams, rate
from arena_learning.rating.battles import battles_from_frame
from arena_learning.rating.bradley_terry import fit_battles
from arena_learning.rating.fit import grounded, information, newton, refit
from arena_learning.rating.fold import Games, Pairs, games_of
from arena_learning.rating.graph import ConnectingBattles, bridges
from arena_learning.rating.intervals import above_by_draws, half_width, percentiles, t_quantile, tail
from arena_learning.rating.resample import PromptResampler

MODELS = 4
PAIRS = Pairs(MODELS, *np.triu_indices(MODELS, 1))
GROUP = np.zeros(MODELS, dtype=np.int64)
VERDICT = {1.0: "model_a", 0.5: "tie", 0.0: "model_b"}
TRUE = np.array([0.9, 0.3, -0.2, -1.0])


def simulate(generator, arenas, prompts):
    """Points of the lower contestant of each pair on each prompt, both orders played, ``(arenas, prompts,
    pairs)``.

    Each prompt suits some contestants (standard deviation 1 log unit), the first position gains 0.3, 15 % are
    ties: so the games of a prompt, and the two orders above all, are far from independent.
    """
    strength = TRUE + generator.standard_normal((arenas, prompts, MODELS))
    gap = strength[..., PAIRS.lo] - strength[..., PAIRS.hi]
    points = np.zeros(gap.shape)
    for position in (0.3, -0.3):
        share, chance = 1 / (1 + np.exp(-gap - position)), generator.random(gap.shape)
        points += np.where(chance < 0.85 * share, 1.0, np.where(chance < 0.85 * share + 0.15, 0.5, 0.0))
    return points


def population():
    """The ratings that a fit of endless prompts gives: what intervals must cover."""
    generator = np.random.default_rng(0)
    points = np.mean([simulate(generator, 1, 100_000)[0].mean(axis=0) for _ in range(10)], axis=0)
    return newton(PAIRS, Games(np.full((6, 1), 2.0), points[:, None]), GROUP)[:, 0]


def coverage(prompts, arenas=2000, resamples=400):
    """Share of arenas whose intervals cover, by kind; over ratings and over differences to the first."""
    generator = np.random.default_rng(prompts)
    points = simulate(generator, arenas, prompts)
    draws = generator.multinomial(prompts, np.full(prompts, 1 / prompts), size=resamples).astype(float)
    truth, met = population(), np.full(6, 2.0 * prompts)
    plain, corrected, robust = [], [], []
    for arena in points:
        games = Games(met[:, None], arena.sum(axis=0)[:, None])
        prior, _ = bridges(PAIRS, games, met)
        games = games.plus_even(prior)
        theta = newton(PAIRS, games, GROUP)
        inverse = np.linalg.inv(grounded(information(PAIRS, games, theta), GROUP)[0])
        again = Games(np.repeat(met[:, None], resamples, axis=1), (draws @ arena).T).plus_even(prior)
        again = ConnectingBattles(PAIRS, games, met, GROUP).connect(again)
        fits = contrasts(refit(PAIRS, again, GROUP, theta[:, 0], inverse)).T
        wanted, found = contrasts(truth[:, None])[:, 0], contrasts(theta)[:, 0]
        for kind, small in ((plain, False), (corrected, True)):
            lower, upper = percentiles(fits, tail(0.95, prompts, small))
            kind.append((lower <= wanted) & (wanted <= upper))
        share = 0.5 + np.tanh((theta[PAIRS.lo, 0] - theta[PAIRS.hi, 0]) / 2) / 2
        residual = arena - 2 * share
        score = PAIRS.scatter(residual.T, -residual.T).T
        change = contrasts(np.eye(MODELS))
        covariance = change @ inverse @ (score.T @ score) @ inverse @ change.T
        reach = half_width(0.95, prompts, True) * np.sqrt(np.diag(covariance))
        robust.append(np.abs(found - wanted) <= reach)
    return {
        k: np.mean(v, axis=0) for k, v in (("plain", plain), ("corrected", corrected), ("sandwich", robust))
    }


def contrasts(theta):
    """Ratings, and below them their differences to the first contestant."""
    return np.vstack([theta, theta[0] - theta[1:]])


@pytest.mark.slow
@pytest.mark.parametrize("prompts", [150, 200])
def test_intervals_cover_as_they_say(prompts):
    # 2,000 arenas: a true 95 % shows as 95 % with a standard error of 0.5 %.
    found = coverage(prompts)
    for kind in ("plain", "corrected", "sandwich"):
        assert (found[kind] > 0.93).all(), found
        assert (found[kind] < 0.97).all(), found


@pytest.mark.slow
def test_few_prompts_need_the_correction():
    found = coverage(40)
    assert found["plain"].mean() < 0.94, found
    assert found["corrected"].mean() > found["plain"].mean() + 0.005, found
    for kind in ("corrected", "sandwich"):
        assert (found[kind] > 0.93).all(), found
        assert (found[kind] < 0.97).all(), found


def prompt_table(seed=0, prompts=60):
    points = simulate(np.random.default_rng(seed), 1, prompts)[0]
    rows = []
    for prompt, row in enumerate(points):
        for i, j, won in zip(PAIRS.lo, PAIRS.hi, row, strict=True):
            halves = (min(won, 1.0), max(won - 1.0, 0.0))
            rows += [(f"m{i}", f"m{j}", VERDICT[half], prompt) for half in halves]
    return pd.DataFrame(rows, columns=["model_a", "model_b", "winner", "prompt_id"])


def widths(result):
    return np.array([rating.upper - rating.lower for rating in result.ratings])


def test_bootstrap_and_sandwich_agree():
    table = prompt_table(prompts=400)
    for cluster in ("prompt", "battle"):
        one = rate(table, RatingParams(cluster=cluster, bootstrap=2000))
        other = rate(table, RatingParams(cluster=cluster, interval="sandwich"))
        assert widths(one) == pytest.approx(widths(other), rel=0.08)
        ours, theirs = one.difference("m3", "m0"), other.difference("m3", "m0")
        assert ours.upper - ours.lower == pytest.approx(theirs.upper - theirs.lower, rel=0.08)
        assert ours.separated
        assert theirs.separated


def test_clustering_by_prompt_is_the_default_and_wider():
    table = prompt_table(prompts=200)
    by_prompt, by_battle = rate(table), rate(table, RatingParams(cluster="battle"))
    assert (by_prompt.cluster, by_prompt.clusters) == ("prompt", 200)
    assert (by_battle.cluster, by_battle.clusters) == ("battle", 2400)
    assert (widths(by_prompt) > 1.1 * widths(by_battle)).all()


def test_prompts_of_one_battle_each_are_battles():
    # The sandwich by prompt must equal that by battle where each battle has its own prompt.
    table = prompt_table().assign(prompt_id=lambda rows: range(len(rows)))
    for ties in ("half", "drop", "davidson"):
        one = rate(table, RatingParams(interval="sandwich", cluster="prompt", ties=ties))
        other = rate(table, RatingParams(interval="sandwich", cluster="battle", ties=ties))
        assert one.covariance == pytest.approx(other.covariance, rel=1e-9, abs=1e-9)


def test_equal_weights_on_prompts_resample_as_none():
    table = prompt_table()
    half = rate(table.assign(weight=0.5), RatingParams(bootstrap=100))
    assert rate(table, RatingParams(bootstrap=100)).draws == pytest.approx(half.draws, abs=1e-6)


def test_the_same_seed_gives_the_same_draws():
    table = prompt_table()
    one, same, other = (rate(table, RatingParams(bootstrap=130, seed=seed)).draws for seed in (3, 3, 4))
    assert (one == same).all()
    assert (one != other).any()
    assert one.shape == (130, 4)


def test_every_resample_is_converged():
    # Each draw must equal a fit from scratch of the same resample: Newton from 0 against the chord method.
    table = prompt_table(prompts=12)
    result = rate(table, RatingParams(bootstrap=64, seed=5))
    battles = battles_from_frame(table)
    fit = fit_battles(battles, RatingParams())
    seed = np.random.SeedSequence(5).spawn(1)[0]
    cells = PromptResampler(battles, fit.folded).draw(np.random.default_rng(seed), 64)
    met = fit.folded.cells.reshape(-1, 3).sum(axis=1)
    games = ConnectingBattles(fit.folded.pairs, fit.games, met, fit.groups).connect(games_of(cells, "half"))
    theta = newton(fit.folded.pairs, games, fit.groups)
    assert result.draws == pytest.approx(1000 + theta.T * 400 / math.log(10), abs=1e-5)


def test_a_difference_is_b_less_a():
    result = rate(prompt_table(), RatingParams(bootstrap=200))
    gap = result.difference("m0", "m3")
    assert gap.difference == pytest.approx(result["m3"].rating - result["m0"].rating)
    assert gap.lower < gap.difference < gap.upper < 0
    back = result.difference("m3", "m0")
    assert (back.lower, back.upper) == pytest.approx((-gap.upper, -gap.lower))


def test_ranks_follow_the_differences():
    for interval in ("bootstrap", "sandwich"):
        result = rate(prompt_table(), RatingParams(bootstrap=300, interval=interval))
        for rating in result.ratings:
            gaps = [result.difference(rating.model, o.model) for o in result.ratings if o is not rating]
            assert rating.rank_lower == 1 + sum(gap.lower > 0 for gap in gaps)
            assert rating.rank_upper == 4 - sum(gap.upper < 0 for gap in gaps)


def test_above_by_draws_equals_the_quantile():
    generator = np.random.default_rng(0)
    draws = generator.normal(size=(101, 8)) + np.linspace(0, 2, 8)
    above = above_by_draws(draws, 0.0213)
    gaps = draws[:, :, None] - draws[:, None, :]
    assert (above == (np.quantile(gaps, 0.0213, axis=0) > 0)).all()


@pytest.mark.parametrize(
    ("share", "degrees", "value"),
    # Student's table.
    [(0.975, 1, 12.7062), (0.975, 2, 4.3027), (0.975, 39, 2.0227), (0.995, 10, 3.1693), (0.95, 149, 1.6551)],
)
def test_t_quantiles(share, degrees, value):
    assert t_quantile(share, degrees) == pytest.approx(value, abs=5e-5)
    assert t_quantile(1 - share, degrees) == pytest.approx(-value, abs=5e-5)


def test_the_correction_vanishes():
    assert tail(0.95, 40, False) == pytest.approx(0.025)
    # Phi(-2.0227 * sqrt(40 / 39)) = Phi(-2.0485)
    assert tail(0.95, 40, True) == pytest.approx(NormalDist().cdf(-2.0485), abs=2e-5)
    assert tail(0.95, 10**7, True) == pytest.approx(0.025, abs=1e-7)
    assert half_width(0.95, 10**7, True) == pytest.approx(1.96, abs=1e-3)
