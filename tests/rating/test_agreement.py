"""Consistency with a reference arena, and the two biases."""

import numpy as np
import pandas as pd
import pytest

from arena_learning.core.errors import ArenaError
from arena_learning.rating import average_win_rates, consistency, position_bias, win_rate_against
from arena_learning.rating.agreement import kendall, spearman


def board(*rows):
    return pd.DataFrame(rows, columns=["model", "rating", "lower", "upper"])


REF = board(
    ("a", 1300, 1290, 1310), ("b", 1200, 1190, 1210), ("c", 1100, 1090, 1110), ("d", 1105, 1095, 1115)
)


def test_consistency_by_hand():
    # The reference separates all pairs but c and d: 5 of 6. The bench has a above b above d, c above b
    # (a conflict), intervals of a and c overlap, those of b and d only touch: they do not overlap.
    bench = board(
        ("a", 40, 35, 45), ("b", 20, 18, 22), ("c", 34, 30, 36), ("d", 17, 16, 18), ("other", 1, 0, 2)
    )
    found = consistency(bench, REF)
    # ab +1, ac 0, ad +1, bc -1, bd +1 over 5; separated by the bench: ab, ad, bc, bd, cd: 5 of 6.
    assert found.human_agreement == pytest.approx(2 / 5)
    assert found.differentiation == pytest.approx(5 / 6)
    # Ranks 4 2 3 1 against 4 3 1 2: d = 0 -1 2 -1, rho = 1 - 6 * 6 / (4 * 15) = 0.4.
    assert found.spearman == pytest.approx(0.4)
    assert found.mean == pytest.approx((2 / 5 + 5 / 6 + 0.4) / 3)
    assert (found.models, found.pairs, found.separated) == (4, 6, 5)
    assert [tuple(conflict) for conflict in found.conflicts] == [("c", "b")]
    # Concordant ab ac ad bd; discordant bc cd: (4 - 2) / 6.
    assert found.kendall == pytest.approx(2 / 6)


def test_a_board_agrees_with_itself():
    found = consistency(REF, REF)
    assert (found.spearman, found.human_agreement, found.conflicts) == (pytest.approx(1), 1.0, [])


def test_what_cannot_be_told_is_none():
    same = board(("a", 1, 0, 2), ("b", 1, 0, 2))
    found = consistency(same, same)
    assert (found.spearman, found.kendall, found.human_agreement, found.mean) == (None, None, None, None)


def test_ranks_average_ties():
    # Ranks 1 2.5 2.5 4 and 1 2 3 4: covariance 4.5, spreads 4.5 and 5.
    assert spearman(np.array([1.0, 2, 2, 3]), np.array([1.0, 2, 3, 4])) == pytest.approx(
        4.5 / np.sqrt(4.5 * 5)
    )
    # 5 concordant, none discordant, one tied of 6: tau-b = 5 / sqrt(5 * 6).
    assert kendall(np.array([1.0, 2, 2, 3]), np.array([1.0, 2, 3, 4])) == pytest.approx(5 / np.sqrt(30))


@pytest.mark.parametrize(
    ("bench", "message"),
    [
        (board(("a", 1, 2, 0), ("b", 1, 0, 2)), "row 1: a: lower 2 is above upper 0"),
        (board(("a", 1, 0, 2), ("a", 1, 0, 2)), "row 2: 'a' comes twice"),
        (board(("a", 1, 0, 2), ("b", "x", 0, 2)), "row 2: b: rating, lower and upper must be numbers"),
        (board(("a", 1, 0, 2), ("z", 1, 0, 2)), "1 contestants are rated by both"),
        (REF.drop(columns="upper"), "no column 'upper'"),
        (REF.iloc[:0], "the table has no rows"),
    ],
)
def test_bad_boards_are_errors(bench, message):
    with pytest.raises(ArenaError, match=message):
        consistency(bench, REF)


def games(*rows):
    return pd.DataFrame(rows, columns=["prompt_id", "model_a", "model_b", "winner"])


def test_position_bias_by_hand():
    table = games(
        (1, "x", "y", "model_a"),
        (1, "y", "x", "model_a"),  # first both times
        (2, "x", "y", "model_a"),
        (2, "y", "x", "model_b"),  # x both times: survives
        (3, "x", "y", "tie"),
        (3, "y", "x", "model_b"),  # flips, but not to the other
        (4, "x", "y", "model_b"),
        (4, "y", "x", "model_b"),  # second both times
        (5, "x", "y", "model_a"),  # one order only
    )
    found = position_bias(table)
    assert (found.games, found.swapped) == (9, 4)
    assert (found.first_wins, found.second_wins, found.ties) == pytest.approx((4 / 9, 4 / 9, 1 / 9))
    assert (found.survives, found.flip_rate, found.reversal_rate) == pytest.approx((1 / 4, 3 / 4, 2 / 4))
    assert (found.first_twice, found.second_twice) == pytest.approx((1 / 4, 1 / 4))
    assert found.longer_wins is None


def test_repeated_verdicts_are_matched_in_order():
    rows = [(1, "x", "y", "model_a"), (1, "x", "y", "tie"), (1, "y", "x", "model_b"), (1, "y", "x", "tie")]
    found = position_bias(games(*rows))
    assert (found.swapped, found.survives) == (2, 1.0)


def test_length_bias_by_hand():
    table = games(
        (1, "x", "y", "model_a"), (2, "x", "y", "model_b"), (3, "x", "y", "tie"), (4, "x", "y", "model_a")
    )
    table = table.assign(
        length_a=[9, 9, 9, 5], length_b=[1, 1, 1, 5], score_a=[8, 3, 5, 6], score_b=[5, 4, 5, 5]
    )
    found = position_bias(table)
    # Decided and of different length: two, the longer won one. Score gaps 3, -1, 0, 1.
    assert (found.longer_wins, found.decided_by_length) == (0.5, 2)
    assert found.score_gap == pytest.approx(0.75)


def test_counts_cannot_be_matched():
    with pytest.raises(ArenaError, match="one row for each game"):
        position_bias(games((1, "x", "y", "model_a")).assign(count=2))


def test_win_rate_against_a_baseline_by_hand():
    table = games(
        (1, "x", "base", "model_a"),
        (2, "base", "x", "tie"),
        (3, "y", "base", "model_b"),
        (3, "x", "y", "tie"),
    )
    x, y = win_rate_against(table, "base")
    assert (x.model, x.rate, x.battles) == ("x", 0.75, 2)
    assert (y.model, y.rate, y.lower, y.upper) == ("y", 0.0, 0.0, 0.0)
    assert (x.lower, x.upper) == (0.0, 1.0)  # two prompts tell next to nothing
    # x: 3/4 against base, 1/2 against y.
    assert average_win_rates(table)["x"] == pytest.approx(0.625)
    with pytest.raises(ArenaError, match="the baseline 'bas' has no battle"):
        win_rate_against(table, "bas")
