"""Ratings against hand-worked examples, evalica, and the symmetries any fit must have."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arena_learning.core.errors import ArenaError
from arena_learning.rating import RatingParams, average_win_rates, online_elo, rate
from arena_learning.rating.elo import EloParams

SANDWICH = RatingParams(interval="sandwich")
PUBLISHED = ["model_a", "model_b", "tie", "tie (bothbad)"]


def battles(*rows, columns=("model_a", "model_b", "winner", "count")):
    return pd.DataFrame(rows, columns=list(columns))


def elo_of(table, params=SANDWICH):
    return {rating.model: rating.rating for rating in rate(table, params).ratings}


def test_two_contestants_by_hand():
    # 30 of 40 points: odds 3, so the difference is 400 * log10(3) = 190.85 Elo, about a mean of 1000.
    elo = elo_of(battles(("x", "y", "model_a", 28), ("y", "x", "model_a", 8), ("y", "x", "tie", 4)))
    half = 200 * math.log10(3)
    assert elo == pytest.approx({"x": 1000 + half, "y": 1000 - half}, abs=1e-6)


def test_a_chain_of_three_by_hand():
    # A tree has no cycles, so that each pair's odds are met exactly: a over b 4, b over c 9.
    table = battles(
        ("a", "b", "model_a", 4), ("a", "b", "model_b", 1), ("b", "c", "model_a", 9), ("c", "b", "model_a", 1)
    )
    elo = elo_of(table, RatingParams(anchor=("b", 1000.0), interval="sandwich"))
    expected = {"a": 1000 + 400 * math.log10(4), "b": 1000.0, "c": 1000 - 400 * math.log10(9)}
    assert elo == pytest.approx(expected, abs=1e-6)


def test_dropping_ties_by_hand():
    # Of 6 wins, 2 losses and 8 ties the ties go: odds 3, not 10 / 6.
    table = battles(("x", "y", "model_a", 6), ("x", "y", "model_b", 2), ("x", "y", "tie (bothbad)", 8))
    elo = elo_of(table, RatingParams(ties="drop", interval="sandwich"))
    assert elo["x"] - elo["y"] == pytest.approx(400 * math.log10(3), abs=1e-6)


def test_davidson_by_hand():
    # Two contestants and three outcomes: the model fits the shares exactly. Odds of winning 8 / 2 = 4;
    # nu = ties / sqrt(wins * losses) = 6 / 4.
    table = battles(("x", "y", "model_a", 8), ("x", "y", "model_b", 2), ("x", "y", "tie", 6))
    result = rate(table, RatingParams(ties="davidson", interval="sandwich"))
    assert result["x"].rating - result["y"].rating == pytest.approx(400 * math.log10(4), abs=1e-6)
    assert math.exp(result.log_nu) == pytest.approx(1.5, abs=1e-8)
    # A win or half a tie: (8 + 3) / 16.
    assert result.win_rates(expected=True).loc["x", "y"] == pytest.approx(11 / 16, abs=1e-8)


def test_scale_and_anchor():
    table = battles(("x", "y", "model_a", 10), ("x", "y", "model_b", 1))
    result = rate(table, RatingParams(anchor=("y", 500.0), scale=100.0, bootstrap=50))
    assert result["y"].rating == result["y"].lower == result["y"].upper == 500.0
    assert result["x"].rating == pytest.approx(600.0, abs=1e-6)  # odds 10 are one scale


def test_win_rates_and_counts():
    table = battles(
        ("x", "y", "model_a", 3), ("y", "x", "tie", 1), ("x", "z", "model_b", 2), ("z", "y", "model_b", 1)
    )
    result = rate(table, SANDWICH)
    x = result["x"]
    assert (x.battles, x.wins, x.ties, x.losses) == (6, 3, 1, 2)
    rates = result.win_rates()
    assert rates.loc["x", "y"] == pytest.approx(3.5 / 4)
    assert rates.loc["y", "x"] == pytest.approx(0.5 / 4)
    assert np.isnan(rates.loc["x", "x"])
    # x: 3.5 / 4 against y and 0 against z.
    assert average_win_rates(table)["x"] == pytest.approx((3.5 / 4 + 0) / 2)


def test_online_elo_by_hand():
    # Equal ratings: expected 1/2, so the winner gains k / 2 = 16. Then 1016 against 984:
    # expected 1 / (1 + 10 ** (-32 / 400)) = 0.5459, a loss costs 32 * 0.5459 = 17.469.
    table = battles(("x", "y", "model_a"), ("x", "y", "model_b"), columns=("model_a", "model_b", "winner"))
    elo = online_elo(table, EloParams(k=32))
    assert elo["x"] == pytest.approx(1016 - 32 / (1 + 10 ** (-32 / 400)), abs=1e-9)
    assert elo["x"] + elo["y"] == pytest.approx(2000)
    both = online_elo(table, EloParams(k=32, permutations=400, seed=1))
    assert both["x"] == pytest.approx(1000, abs=0.2)  # the mean over both orders is 1000


def random_table(seed, models=6, rows=400):
    rng = np.random.default_rng(seed)
    strength = rng.normal(size=models)
    a = rng.integers(models, size=rows)
    b = (a + rng.integers(1, models, size=rows)) % models
    won = rng.random(rows) < 1 / (1 + np.exp(strength[b] - strength[a]))
    winner = np.where(rng.random(rows) < 0.2, "tie", np.where(won, "model_a", "model_b"))
    return pd.DataFrame({"model_a": [f"m{i}" for i in a], "model_b": [f"m{i}" for i in b], "winner": winner})


@pytest.mark.parametrize("seed", range(3))
def test_equals_evalica(seed):
    evalica = pytest.importorskip("evalica")
    table = random_table(seed)
    winner = {"model_a": evalica.Winner.X, "model_b": evalica.Winner.Y, "tie": evalica.Winner.Draw}
    columns = (table.model_a, table.model_b, [winner[name] for name in table.winner])
    ours = pd.Series(elo_of(table)) * math.log(10) / 400
    for method in (evalica.bradley_terry, evalica.newman):
        found = method(*columns, tolerance=1e-14, limit=20_000)
        if method is evalica.newman:
            continue  # its ties are a parameter, as Davidson's but another one: only its order is shared
        theirs = np.log(found.scores.reindex(ours.index))
        assert np.abs((ours - ours.mean()) - (theirs - theirs.mean())).max() < 1e-6
    elo = evalica.elo(*columns, initial=1000.0, base=10.0, scale=400.0, k=4.0).scores
    assert pd.Series(online_elo(table)).reindex(elo.index).to_numpy() == pytest.approx(
        elo.to_numpy(), abs=1e-6
    )
    rates = evalica.average_win_rate(*columns).scores
    assert pd.Series(average_win_rates(table)).reindex(rates.index).to_numpy() == pytest.approx(
        rates, abs=1e-6
    )


OUTCOMES = st.lists(
    st.tuples(st.integers(0, 4), st.integers(1, 4), st.sampled_from(PUBLISHED), st.integers(1, 5)),
    min_size=1,
    max_size=40,
)
FLIP = {"model_a": "model_b", "model_b": "model_a", "tie": "tie", "tie (bothbad)": "tie (bothbad)"}
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def table_of(rows):
    return battles(*((f"m{a}", f"m{(a + step) % 5}", winner, count) for a, step, winner, count in rows))


@QUICK
@given(OUTCOMES, st.randoms(use_true_random=False), st.sampled_from(["half", "drop", "davidson"]))
def test_order_sides_splits_and_names_change_nothing(rows, random, ties):
    table = table_of(rows)
    params = RatingParams(ties=ties, interval="sandwich")
    before = elo_of(table, params)
    shuffled = table.sample(frac=1, random_state=random.randrange(1000))
    swapped = table.rename(columns={"model_a": "model_b", "model_b": "model_a"})
    swapped["winner"] = swapped.winner.map(FLIP)
    split = table.loc[table.index.repeat(table["count"])].assign(count=1)
    for other in (shuffled, swapped, split):
        assert elo_of(other, params) == pytest.approx(before, abs=1e-6)
    new = {f"m{i}": f"n{9 - i}" for i in range(5)}
    renamed = table.assign(model_a=table.model_a.map(new), model_b=table.model_b.map(new))
    assert elo_of(renamed, params) == pytest.approx(
        {new[name]: elo for name, elo in before.items()}, abs=1e-6
    )


@QUICK
@given(OUTCOMES, st.floats(-500, 500))
def test_an_anchor_adds_a_constant(rows, shift):
    table = table_of(rows)
    name = table.model_a[0]
    one = rate(table, RatingParams(anchor=(name, 1000.0), interval="sandwich"))
    other = rate(table, RatingParams(anchor=(name, 1000.0 + shift), interval="sandwich"))
    for rating in one.ratings:
        if rating.group == 0:
            assert other[rating.model].rating == pytest.approx(rating.rating + shift, abs=1e-6)
            assert other[rating.model].upper - other[rating.model].lower == pytest.approx(
                rating.upper - rating.lower, abs=1e-5
            )


@pytest.mark.parametrize("factor", [2, 1000])
def test_scaling_counts_changes_no_rating_and_narrows_intervals(factor):
    table = random_table(7).assign(count=1)
    params = RatingParams(interval="sandwich", small_sample=False)
    one, many = rate(table, params), rate(table.assign(count=factor), params)
    for rating in one.ratings:
        other = many[rating.model]
        assert other.rating == pytest.approx(rating.rating, abs=1e-6)
        assert other.upper - other.lower == pytest.approx((rating.upper - rating.lower) / math.sqrt(factor))


def test_weights_count_as_battles_do():
    table = random_table(3)
    counted = elo_of(table.assign(count=[1, 3] * 200))
    assert elo_of(table.assign(weight=[0.5, 1.5] * 200)) == pytest.approx(counted, abs=1e-6)


def test_an_unknown_anchor_and_bad_parameters_are_errors():
    with pytest.raises(ArenaError, match="did you mean 'm1'"):
        rate(random_table(0), RatingParams(anchor=("m11", 1.0)))
    with pytest.raises(ArenaError, match="no column 'prompt_id'"):
        rate(random_table(0), RatingParams(cluster="prompt"))
    for wrong in ({"scale": 0.0}, {"level": 1.0}, {"bootstrap": -1}, {"ties": "no"}, {"interval": "x"}):
        with pytest.raises(ArenaError):
            RatingParams(**wrong)
