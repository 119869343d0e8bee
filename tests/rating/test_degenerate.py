"""Undefeated, winless and unconnected contestants get finite ratings and are named."""

import math

import numpy as np
import pandas as pd
import pytest

from arena_learning.core.errors import ArenaError
from arena_learning.rating import RatingParams, rate
from arena_learning.rating.fold import Pairs
from arena_learning.rating.graph import groups_that_met, strong_parts

SANDWICH = RatingParams(interval="sandwich")


def battles(*rows):
    return pd.DataFrame(rows, columns=["model_a", "model_b", "winner", "count"])


def kinds(result):
    return {(finding.kind, finding.models) for finding in result.diagnosis}


def test_undefeated_and_winless_are_finite_and_named():
    # x won 9 of 9: with the one tied battle of the prior 9.5 of 10, odds 19.
    result = rate(battles(("x", "y", "model_a", 9)), SANDWICH)
    assert result["x"].rating - result["y"].rating == pytest.approx(400 * math.log10(19), abs=1e-6)
    assert kinds(result) >= {("undefeated", ("x",)), ("winless", ("y",))}


def test_the_prior_is_one_tie_shared_by_battles():
    # x beat y 6 times and z twice, y and z are even: one tie in shares of 3/4 and 1/4. y and z, alike in odds
    # 1, hold x at 8.5 of 9 points if they rate alike; they do: x's share against both is 6.375 / 6.75 = 2.125
    # / 2.25.
    table = battles(
        ("x", "y", "model_a", 6), ("x", "z", "model_a", 2), ("y", "z", "model_a", 5), ("y", "z", "model_b", 5)
    )
    result = rate(table, SANDWICH)
    assert result["x"].rating - result["y"].rating == pytest.approx(400 * math.log10(17), abs=1e-6)
    assert result["y"].rating == pytest.approx(result["z"].rating, abs=1e-6)


def test_groups_that_never_met_are_named_and_not_compared():
    table = battles(("a", "b", "model_a", 3), ("b", "a", "model_a", 2), ("p", "q", "tie", 4))
    result = rate(table, RatingParams(anchor=("p", 1500.0), bootstrap=20))
    assert result["q"].rating == pytest.approx(1500.0)
    assert (result["p"].group, result["a"].group) == (0, 1)
    assert (result["a"].rating + result["b"].rating) / 2 == pytest.approx(1000.0)
    assert {rating.rank_upper for rating in result.ratings} <= {1, 2}
    (finding,) = [finding for finding in result.diagnosis if finding.kind == "unconnected"]
    assert finding.models == ("a", "b")
    assert not result.comparable("a", "p")
    with pytest.raises(ArenaError, match="no chain of battles connects"):
        result.difference("a", "p")
    assert np.isnan(result.win_rates(expected=True).loc["a", "p"])


def test_a_one_sided_field_is_named():
    table = battles(
        ("a", "b", "model_a", 3),
        ("a", "b", "model_b", 3),
        ("c", "d", "model_a", 3),
        ("c", "d", "model_b", 2),
        ("a", "c", "model_a", 4),
    )
    (finding,) = [f for f in rate(table, SANDWICH).diagnosis if f.kind == "one_sided"]
    assert "a, b; c, d" in finding.message


@pytest.mark.parametrize("ties", ["half", "drop", "davidson"])
@pytest.mark.parametrize("winner", ["model_a", "tie"])
def test_every_resample_is_finite(ties, winner):
    rows = [("a", "b", "model_a", i) for i in range(5)] + [("b", "a", winner, 5), ("c", "a", "model_b", 6)]
    table = pd.DataFrame(rows, columns=["model_a", "model_b", "winner", "prompt_id"])
    for cluster in ("prompt", "battle"):
        result = rate(table, RatingParams(ties=ties, cluster=cluster, bootstrap=300))
        assert np.isfinite(result.draws).all()
        assert np.abs(result.draws).max() < 5000


def test_few_clusters_are_named():
    table = pd.DataFrame(
        {"model_a": "x", "model_b": "y", "winner": ["model_a", "model_b", "tie"], "prompt_id": [1, 1, 2]}
    )
    (finding,) = rate(table, RatingParams(bootstrap=10)).diagnosis
    assert finding.kind == "few_clusters"
    assert "2 prompts" in finding.message


def test_strong_parts_of_a_known_graph():
    # 0 -> 1 -> 2 -> 0 is a cycle, 2 -> 3 one way, 4 alone.
    winners, losers = np.array([(0, 1), (1, 2), (2, 0), (2, 3)]).T
    assert strong_parts(5, winners, losers).tolist() == [0, 0, 0, 1, 2]
    assert strong_parts(5, 4 - winners, 4 - losers).tolist() == [0, 1, 2, 2, 2]  # numbered by first members


def test_groups_of_a_long_chain():
    size = 200
    order = np.random.default_rng(0).permutation(size)
    lo, hi = np.minimum(order[:-1], order[1:]), np.maximum(order[:-1], order[1:])
    sort = np.lexsort((hi, lo))
    assert groups_that_met(Pairs(size, lo[sort], hi[sort])).max() == 0
    cut = sort[sort != 100]
    assert groups_that_met(Pairs(size, lo[cut], hi[cut])).max() == 1
