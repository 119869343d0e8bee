"""Style control recovers what lengths are worth and what strengths are without them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from arena_learning.core.errors import ArenaError
from arena_learning.rating import RatingParams, battles_from_frame, rate, rate_with_style


def simulated(effect, rows=12_000):
    """Three contestants, equal but for c, who is stronger; b writes long, and length moves verdicts."""
    generator = np.random.default_rng(1)
    a, b = np.array([(i, j) for i in range(3) for j in range(3) if i != j])[
        generator.integers(6, size=rows)
    ].T
    length = 200 * np.array([1.0, 3.0, 1.0])
    la, lb = (length[side] * np.exp(0.4 * generator.normal(size=rows)) for side in (a, b))
    ratio = (la - lb) / (la + lb)
    strength = np.array([0.0, 0.0, 0.5])
    won = generator.random(rows) < 1 / (1 + np.exp(-(strength[a] - strength[b] + effect * ratio)))
    names = np.array(["a", "b", "c"])
    winner = np.where(won, "model_a", "model_b")
    table = {"model_a": names[a], "model_b": names[b], "winner": winner, "length_a": la, "length_b": lb}
    return pd.DataFrame(table), ratio


def test_length_is_held_equal():
    table, ratio = simulated(effect=2.0)
    found = rate_with_style(table, RatingParams(anchor=("a", 0.0)))
    unit = 400 / np.log(10)
    # A standard deviation of the ratio is worth 2 * rms(ratio) log units.
    (length,) = found.effects
    truth = 2 * np.sqrt((ratio**2).mean()) * unit
    assert length.name == "length"
    assert length.lower < truth < length.upper
    assert length.elo == pytest.approx(truth, rel=0.15)
    assert found.plain["b"].rating > 100
    for name, strength in (("b", 0.0), ("c", 0.5)):
        rating = found.controlled[name]
        assert rating.lower < strength * unit < rating.upper
        assert rating.upper - rating.lower < 60


def test_without_an_effect_both_agree():
    table, _ = simulated(effect=0.0)
    found = rate_with_style(table)
    assert found.effects[0].lower < 0 < found.effects[0].upper
    for rating in found.plain.ratings:
        assert found.controlled[rating.model].rating == pytest.approx(rating.rating, abs=15)


def test_swapping_sides_changes_nothing():
    table, _ = simulated(effect=1.0, rows=500)
    swapped = table.rename(
        columns=lambda name: name[:-1] + {"a": "b", "b": "a"}[name[-1]] if "_" in name else name
    )
    swapped["winner"] = swapped.winner.map({"model_a": "model_b", "model_b": "model_a"})
    one, other = rate_with_style(table), rate_with_style(swapped)
    assert other.effects[0].elo == pytest.approx(one.effects[0].elo, abs=1e-6)
    for rating in one.controlled.ratings:
        assert other.controlled[rating.model].rating == pytest.approx(rating.rating, abs=1e-6)


def test_markdown_and_a_style_that_never_differs():
    table, _ = simulated(effect=1.0, rows=500)
    generator = np.random.default_rng(1)
    for name in ("headers", "lists"):
        table[f"{name}_a"], table[f"{name}_b"] = generator.integers(0, 5, size=(2, len(table)))
    found = rate_with_style(table.assign(bold_a=0, bold_b=0), RatingParams(ties="drop"))
    assert [effect.name for effect in found.effects] == ["length", "headers", "lists", "bold"]
    assert found.effects[3].elo == 0.0


def test_style_needs_columns_and_no_tie_parameter():
    table, _ = simulated(effect=1.0, rows=50)
    with pytest.raises(ArenaError, match="there is no style column"):
        rate_with_style(table.drop(columns=["length_a", "length_b"]))
    with pytest.raises(ArenaError, match="does not support ties: davidson"):
        rate_with_style(table, RatingParams(ties="davidson"))


def test_resamples_are_those_of_the_plain_ratings_and_each_is_fitted():
    table, _ = simulated(effect=1.0, rows=400)
    table = table.assign(prompt_id=np.repeat(np.arange(40), 10).astype(str))
    how = RatingParams(anchor=("a", 0.0), bootstrap=70, seed=5)
    found = rate_with_style(table, how)
    # 70 resamples are drawn in blocks of 64 and 6. Each column is checked against a fit of its own, with no short cut.
    battles = battles_from_frame(table)
    seeds = np.random.SeedSequence(5).spawn(2)
    first = np.random.default_rng(seeds[0])
    for column in range(3):
        drawn = first.integers(0, 40, 40, dtype=np.int32)
        times = np.bincount(drawn, minlength=40)
        again = pd.concat(
            [
                table.iloc[np.flatnonzero(battles.prompt == prompt)]
                for prompt in np.repeat(np.arange(40), times)
            ]
        )
        plain = rate(again, RatingParams(anchor=("a", 0.0), interval="sandwich"))
        assert plain["c"].rating == pytest.approx(found.plain.draws[column, 2], abs=1e-6)
        own = rate_with_style(again, RatingParams(anchor=("a", 0.0), interval="sandwich"))
        for name, place in (("b", 1), ("c", 2)):
            # The prior on an effect has another scale there: 0.01 beside an information of some 60.
            assert own.controlled[name].rating == pytest.approx(
                found.controlled.draws[column, place], abs=0.1
            )
    assert found.effects[0].lower < found.effects[0].elo < found.effects[0].upper


def test_bootstrap_and_sandwich_agree_and_without_prompts_it_is_the_sandwich():
    table, _ = simulated(effect=1.5, rows=3000)
    prompts = table.assign(prompt_id=np.repeat(np.arange(300), 10).astype(str))
    how = RatingParams(anchor=("a", 0.0), bootstrap=400)
    drawn, robust = (
        rate_with_style(prompts, replace(how, interval=one)) for one in ("bootstrap", "sandwich")
    )
    for name in "bc":
        one, other = drawn.controlled[name], robust.controlled[name]
        assert one.rating == pytest.approx(other.rating, abs=1e-6)
        assert one.upper - one.lower == pytest.approx(other.upper - other.lower, rel=0.2)
    one, other = drawn.effects[0], robust.effects[0]
    assert one.upper - one.lower == pytest.approx(other.upper - other.lower, rel=0.2)
    alone = rate_with_style(table, how)
    assert alone.controlled.draws is None
    assert alone.controlled.covariance is not None


def test_a_resample_that_a_style_separates_still_converges():
    # Whoever writes longer wins, and c beats everybody: no effect and no strength has a finite maximum without a prior.
    table, _ = simulated(effect=0.0, rows=60)
    longer = np.where(table.length_a > table.length_b, "model_a", "model_b")
    table = table.assign(winner=longer, prompt_id=np.repeat(np.arange(12), 5).astype(str))
    table.loc[table.model_a == "c", "winner"] = "model_a"
    table.loc[table.model_b == "c", "winner"] = "model_b"
    found = rate_with_style(table, RatingParams(bootstrap=100))
    assert np.isfinite(found.controlled.draws).all()
    assert found.controlled["c"].rank_upper == 1
    # The prior on an effect has a standard deviation of 10 in log-odds, 1737 Elo.
    assert -1737 < found.effects[0].lower < found.effects[0].upper < 1737
