from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena_learning.dataset.select import Rules, choose_label, choose_pair


def rules(threshold=0.0, pairs="all", max_words=0, seed=0):
    return Rules(threshold, pairs, max_words, seed)


@pytest.fixture
def answers(make_response):
    def make(**changes):
        return {c: make_response("i1", c, f"{c} says", **changes.get(c, {})) for c in ("t", "x", "y", "z")}

    return make


@pytest.fixture
def lost(make_battle):
    """The target scores 4: x beats it with 8 (gap 4), y with 6 (gap 2), z loses with 3."""
    return [make_battle("t", 4, "x", 8), make_battle("t", 4, "y", 6), make_battle("t", 4, "z", 3)]


def test_a_lost_battle_teaches_the_highest_scoring_winners_answer(lost, answers):
    choice = choose_label(lost, "t", answers(), rules(1))
    assert (choice.winner, choice.loser, choice.score, choice.battle.gap) == ("x", "t", 8, 4)


def test_the_highest_score_counts_and_not_the_widest_gap(make_battle, answers):
    # the two orders of each pair are judged anew, so the target's own score differs by battle
    battles = [make_battle("t", 2, "x", 7), make_battle("t", 6, "y", 9)]
    assert choose_label(battles, "t", answers(), rules(1)).winner == "y"


@pytest.mark.parametrize(
    ("threshold", "winner"),
    [(0, "x"), (4, "x"), (4.5, "gap below the threshold"), (9, "gap below the threshold")],
)
def test_a_gap_of_exactly_the_threshold_is_enough(lost, answers, threshold, winner):
    choice = choose_label(lost, "t", answers(), rules(threshold))
    assert (choice if isinstance(choice, str) else choice.winner) == winner


def test_a_threshold_of_zero_takes_ties_and_a_higher_one_does_not(make_battle, answers):
    tie = [make_battle("t", 5, "x", 5)]
    assert choose_label(tie, "t", answers(), rules(0)).winner == "x"
    assert choose_label(tie, "t", answers(), rules(0.5)) == "gap below the threshold"


def test_a_target_that_won_everything_teaches_nothing(make_battle, answers):
    assert choose_label([make_battle("t", 9, "x", 2)], "t", answers(), rules()) == "the target won"


def test_battles_between_others_teach_no_label(make_battle, answers):
    assert choose_label([make_battle("x", 9, "y", 2)], "t", answers(), rules()) == "no battle"
    assert choose_label([], "t", answers(), rules()) == "no battle"


def test_unscored_battles_are_neither_ties_nor_losses(make_battle, answers):
    lost = {"winner": "unscored", "gap": None, "score_a": None, "score_b": None, "unscored": "why"}
    nothing = make_battle("t", 1, "x", 1).model_copy(update=lost)
    assert choose_label([nothing], "t", answers(), rules()) == "unscored"
    assert choose_pair([nothing], "t", answers(), rules()) == "unscored"
    assert choose_label([nothing, make_battle("t", 4, "y", 6)], "t", answers(), rules()).winner == "y"


@pytest.mark.parametrize("choose", [choose_label, choose_pair])
@pytest.mark.parametrize(
    ("flaw", "reason"),
    [
        ({"finish_reason": "length"}, "cut off"),
        ({"text": " \n"}, "empty"),
        ({"text": "far too many words for this"}, "too long"),
    ],
)
def test_an_answer_that_is_unfit_is_never_chosen_and_the_next_one_is(lost, answers, choose, flaw, reason):
    unfit = answers()
    unfit["x"] = unfit["x"].model_copy(update=flaw)
    assert choose(lost, "t", unfit, rules(1, max_words=5)).winner == "y"
    assert reason in choose(lost[:1], "t", unfit, rules(1, max_words=5))


def test_a_cut_off_answer_may_be_rejected(lost, answers):
    own = answers(t={"finish_reason": "length"})
    assert choose_pair(lost, "t", own, rules(1)).loser == "t"


def test_the_widest_gap_makes_the_pair_and_the_targets_answer_may_be_chosen(make_battle, answers):
    battles = [make_battle("t", 4, "x", 7), make_battle("t", 8, "y", 3), make_battle("x", 7, "y", 3)]
    choice = choose_pair(battles, "t", answers(), rules(2))
    assert (choice.winner, choice.loser, choice.battle.gap) == ("t", "y", 5)


def test_pairs_of_others_count_unless_only_the_targets_are_asked_for(make_battle, answers):
    battles = [make_battle("t", 4, "x", 7), make_battle("x", 9, "y", 1)]
    assert choose_pair(battles, "t", answers(), rules(2)).loser == "y"
    assert choose_pair(battles, "t", answers(), rules(2, pairs="target")).loser == "t"
    assert choose_pair(battles[1:], "t", answers(), rules(2, pairs="target")) == "no battle"


def test_a_tie_is_no_pair_even_at_a_threshold_of_zero(make_battle, answers):
    assert choose_pair([make_battle("t", 5, "x", 5)], "t", answers(), rules(0)) == "tie"
    assert choose_pair([make_battle("t", 5, "x", 6)], "t", answers(), rules(1)).winner == "x"
    assert choose_pair([make_battle("t", 5, "x", 6)], "t", answers(), rules(1.5)) == "gap below the threshold"


@pytest.mark.parametrize("choose", [choose_label, choose_pair])
def test_equals_are_settled_by_a_seeded_hash_that_no_order_changes(make_battle, answers, choose):
    battles = [make_battle("t", 4, name, 8) for name in "xyz"]
    chosen = []
    for seed in range(30):
        mixed = random.Random(seed).sample(battles, 3)
        winners = {choose(order, "t", answers(), rules(1, seed=seed)).winner for order in (battles, mixed)}
        assert len(winners) == 1
        chosen += winners
    assert set(chosen) == {"x", "y", "z"}


half = st.integers(2, 20).map(lambda n: n / 2)


@given(st.lists(st.tuples(half, half), min_size=3, max_size=3), st.sampled_from([0, 0.5, 1, 2, 3.5]))
def test_what_is_chosen_beat_the_target_by_the_threshold_and_nothing_better_was_left(
    make_battle, make_response, scores, threshold
):
    battles = [make_battle("t", own, name, other) for name, (own, other) in zip("xyz", scores, strict=True)]
    own = {c: make_response("i1", c) for c in "txyz"}
    fit = [b for b in battles if b.score_b - b.score_a >= threshold]
    choice = choose_label(battles, "t", own, rules(threshold))
    if isinstance(choice, str):
        assert not fit
    else:
        assert choice.battle in fit
        assert choice.score == max(b.score_b for b in fit)
