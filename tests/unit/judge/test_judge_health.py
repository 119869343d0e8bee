from __future__ import annotations

import pytest

from arena_learning.judge.health import judge_health, win_counts
from arena_learning.judge.merge import merge_games
from arena_learning.schema.rows import Game

# instruction: scores of (a, b) in the order a-b, then in the order b-a; None: unscored
SCORES = {
    "i1": ((8, 2), (6, 4)),  # a wins by 4, orders agree
    "i2": ((8, 2), (3, 5)),  # 5.5 to 3.5, orders disagree
    "i3": ((5, 5), (5, 5)),  # tie
    "i4": ((9, 1), None),  # unscored
}


@pytest.fixture
def played():
    games = []
    for name, (one, two) in SCORES.items():
        games.append(
            Game(
                instruction_id=name, judge="j", first="a", second="b", score_first=one[0], score_second=one[1]
            )
        )
        scores = {"score_first": two[1], "score_second": two[0]} if two else {"unscored": "no score line"}
        games.append(Game(instruction_id=name, judge="j", first="b", second="a", **scores))
    return games, [merge_games(games[i : i + 2], "other") for i in range(0, len(games), 2)]


def test_counts_and_shares(played, make_response):
    games, battles = played
    texts = {("i1", "a"): "long answer", ("i1", "b"): "short", ("i2", "a"): "x", ("i2", "b"): "y z"}
    responses = {key: make_response(*key, text) for key, text in texts.items()}
    health = judge_health(games, battles, responses)
    assert (health["games"], health["games_unscored"], health["unscored_reasons"]) == (
        8,
        1,
        {"no score line": 1},
    )
    assert (health["battles"], health["battles_unscored"], health["ties"], health["flips"]) == (4, 1, 1, 1)
    assert health["tie_rate"] == pytest.approx(1 / 3)  # of the three scored battles
    assert health["flip_rate"] == pytest.approx(1 / 3)
    assert health["unscored_rate"] == 1 / 4
    # decided games: i1 first and second place won, i2 first place twice, i4 first place
    assert health["first_position_share"] == 4 / 5
    # of the two decided battles a won both, once with the longer answer
    assert health["longer_wins"] == 1 / 2
    assert health["mean_gap"] == 2  # (4 + 2 + 0) / 3
    assert health["gap_histogram"] == {"00.0": 1, "02.0": 1, "04.0": 1}


def test_wins_are_counted_from_the_contestants_side(played):
    _, battles = played
    assert win_counts(battles, "a") == {"b": {"wins": 2, "losses": 0, "ties": 1, "unscored": 1}}
    assert win_counts(battles, "b") == {"a": {"wins": 0, "losses": 2, "ties": 1, "unscored": 1}}
    assert win_counts(battles, "c") == {}


def test_no_battles_have_no_shares():
    health = judge_health([], [], {})
    assert health["battles"] == 0
    assert {health[k] for k in ("tie_rate", "flip_rate", "unscored_rate", "longer_wins", "mean_gap")} == {
        None
    }
