"""The paired comparison on held-out instructions, and what a difference is called."""

from __future__ import annotations

import pytest

from arena_learning.core import ArenaError, Paths
from arena_learning.leaderboard.compare import compare_split, mean_scores, paired
from arena_learning.leaderboard.ratings import rate_battles
from arena_learning.leaderboard.standing import difference
from arena_learning.params import parse_params
from arena_learning.schema.rows import Battle


@pytest.fixture
def params(make_params):
    opponents = {"new": {"engine": "recorded", "model": "new.jsonl"}}
    return parse_params(make_params(opponents=opponents, evaluate={"bootstrap": 200}), "test")


@pytest.fixture
def battle(make_battle):
    def make(instruction, a, score_a, b, score_b):
        return make_battle(a, score_a, b, score_b, instruction_id=f"i{instruction:03d}")

    return make


def test_a_contestants_score_is_its_mean_over_battles(battle):
    battles = [battle(1, "base", 2, "new", 4), battle(1, "new", 6, "old", 1)]
    # new: (4 + 6) / 2
    assert mean_scores(battles) == {"i001": {"base": 2.0, "new": 5.0, "old": 1.0}}


def test_differences_are_paired_by_instruction(battle):
    # base 1, 2, 3, 4 and new one more each time: the difference is 1 without any spread, whatever the scores are.
    battles = [battle(i, "base", i, "new", i + 1) for i in range(1, 5)]
    rows = paired(battles, ["base", "new"], "base", seed=0)
    assert rows["new"] == {"mean_score": 3.5, "gain": 1.0, "lower": 1.0, "upper": 1.0}
    assert rows["base"]["gain"] == 0.0


def test_an_instruction_that_one_contestant_lacks_is_left_out_for_all(battle):
    battles = [battle(1, "base", 1, "new", 3), battle(2, "base", 9, "old", 9)]
    rows = paired(battles, ["base", "new"], "base", seed=0)
    assert rows["base"]["mean_score"] == 1.0


def test_without_an_instruction_that_all_were_scored_on_nothing_is_known(battle):
    battles = [battle(1, "base", 1, "new", 3), battle(2, "base", 9, "old", 9)]
    rows = paired(battles, ["base", "new", "old"], "base", seed=0)
    assert rows["new"] == {"mean_score": None, "gain": None, "lower": None, "upper": None}


def test_the_anchor_alone_is_compared_with_nobody(params, tmp_path):
    with pytest.raises(ArenaError, match="nobody is compared with the anchor 'base'"):
        compare_split("validation", ["base", "base"], params, Paths(tmp_path))


@pytest.mark.parametrize(("score", "verdict"), [(3.0, "gain"), (1.0, "fall")])
def test_a_clear_difference_has_a_name(score, verdict, battle, params):
    battles = [battle(i, "base", 2, "new", score if i % 10 else 4 - score) for i in range(200)]
    found = difference(rate_battles(battles, params), "base", "new")
    assert found["verdict"] == verdict
    assert (found["difference"] > 0) == (verdict == "gain")


def test_an_even_match_is_not_separated(battle, params):
    battles = [battle(i, "base", 2, "new", 3 if i % 2 else 1) for i in range(100)]
    found = difference(rate_battles(battles, params), "base", "new")
    assert found["verdict"] == "not separated"
    assert found["lower"] < 0 < found["upper"]
    assert found["difference"] == pytest.approx(0, abs=1e-6)


def test_unscored_battles_do_not_count(battle, params):
    battles = [battle(i, "base", 2, "new", 3 if i % 2 else 1) for i in range(100)]
    unscored = Battle(
        instruction_id="u",
        category="writing",
        judge="j",
        a="base",
        b="new",
        winner="unscored",
        games=0,
        unscored="x",
    )
    with_it, without = (rate_battles(b, params).ratings for b in ([*battles, unscored], battles))
    assert with_it == without
