"""Style control recovers what lengths are worth and what strengths are without them."""

import numpy as np
import pandas as pd
import pytest

from arena_learning.core.errors import ArenaError
from arena_learning.rating import RatingParams, rate_with_style


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
