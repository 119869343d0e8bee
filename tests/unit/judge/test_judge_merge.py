from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena_learning.judge.merge import merge_games
from arena_learning.schema.rows import Game


def game(first, second, score_first=None, score_second=None, unscored=None):
    return Game(
        instruction_id="i1",
        judge="j",
        first=first,
        second=second,
        score_first=score_first,
        score_second=score_second,
        unscored=unscored,
        rationale=f"{first} then {second}",
    )


def merge(games, **rules):
    return merge_games(games, "other", **rules)


def test_scores_are_averaged_over_the_orders():
    battle = merge([game("a", "b", 8, 3), game("b", "a", 4, 7)])
    # a: 8 and 7, b: 3 and 4
    assert (battle.score_a, battle.score_b, battle.winner, battle.gap) == (7.5, 3.5, "a", 4)
    assert battle.orders_agree is True
    assert battle.rationales == ("a then b", "b then a")
    assert battle.games == 2


def test_contestants_stand_in_alphabetical_order_whoever_came_first():
    battle = merge([game("z", "b", 8, 3), game("b", "z", 4, 7)])
    assert (battle.a, battle.b, battle.winner) == ("b", "z", "b")


@pytest.mark.parametrize(
    ("disagree", "winner", "gap", "unscored"),
    [
        ("average", "a", 1.0, None),
        ("tie", "tie", 0.0, None),
        ("drop", "unscored", None, "the orders disagree"),
    ],
)
def test_orders_that_disagree_are_averaged_tied_or_dropped(disagree, winner, gap, unscored):
    # a wins 8 to 4 in one order and loses 5 to 7 in the other: 6.5 against 5.5 on average
    battle = merge([game("a", "b", 8, 4), game("b", "a", 7, 5)], disagree=disagree)
    assert (battle.winner, battle.gap, battle.unscored) == (winner, gap, unscored)
    assert battle.orders_agree is False


def test_a_win_and_a_tie_disagree():
    assert merge([game("a", "b", 8, 4), game("b", "a", 5, 5)]).orders_agree is False


def test_orders_that_agree_are_averaged_under_every_rule():
    for disagree in ("average", "tie", "drop"):
        assert merge([game("a", "b", 8, 4), game("b", "a", 4, 6)], disagree=disagree).gap == 3


def test_equal_means_are_a_tie():
    battle = merge([game("a", "b", 8, 3), game("b", "a", 8, 3)])
    assert (battle.winner, battle.gap) == ("tie", 0)


def test_one_unscored_game_leaves_the_battle_unscored_with_its_reason():
    battle = merge([game("a", "b", 8, 3), game("b", "a", unscored="no score line")])
    assert (battle.winner, battle.gap, battle.score_a, battle.orders_agree) == ("unscored", None, None, None)
    assert battle.unscored == "no score line"
    assert battle.games == 1


def test_two_reasons_are_both_told_and_the_same_one_once():
    two = [game("a", "b", unscored="x"), game("b", "a", unscored="y")]
    assert merge(two).unscored == "x; y"
    assert merge([two[0], two[0]]).unscored == "x"


def test_a_missing_game_is_no_battle_unless_one_order_is_enough():
    one = [game("a", "b", 8, 3)]
    assert (merge(one).winner, merge(one).unscored) == ("unscored", "a game is missing")
    battle = merge(one, expected=1)
    assert (battle.winner, battle.gap, battle.orders_agree) == ("a", 5, None)


score = st.integers(2, 20).map(lambda n: n / 2)


@given(score, score, score, score, st.sampled_from(["average", "tie", "drop"]))
def test_the_order_of_the_games_and_the_names_change_nothing(a1, b1, a2, b2, disagree):
    games = [game("a", "b", a1, b1), game("b", "a", b2, a2)]
    one, other = merge(games, disagree=disagree), merge(games[::-1], disagree=disagree)
    assert one.model_copy(update={"rationales": ()}) == other.model_copy(update={"rationales": ()})
    swapped = merge([game("b", "a", a1, b1), game("a", "b", b2, a2)], disagree=disagree)
    mirror = {"a": "b", "b": "a"}
    assert swapped.winner == mirror.get(one.winner, one.winner)
    assert swapped.gap == one.gap
