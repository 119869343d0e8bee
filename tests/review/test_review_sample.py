"""Which battles people are asked about."""

from __future__ import annotations

from collections import Counter

import pytest
from review_project import NAMES, battle, make_review_project

from arena_learning.core import ArenaError
from arena_learning.review import draw_sample, read_review_battles
from arena_learning.schema import Game, Response, read_rows, write_rows


@pytest.fixture(scope="module")
def battles(tmp_path_factory):
    return read_review_battles("arena", *make_review_project(tmp_path_factory.mktemp("sample"), 20))


def keys(found):
    return [one.key for one in found]


def test_every_judged_battle_can_be_drawn_once(battles):
    assert len(battles) == 20 * 6
    assert len(set(keys(battles))) == 120
    assert all(set(one.outcomes) == {"rubric-all v1", "reference v1"} for one in battles)


def test_at_random_the_pairs_come_in_turn_and_more_contains_less(battles):
    drawn = draw_sample(battles, "random", 33, 7)
    counts = Counter(one.pair for one in drawn)
    assert set(counts.values()) == {5, 6}  # 33 battles of 6 pairs
    assert keys(drawn)[:12] == keys(draw_sample(battles, "random", 12, 7))
    assert keys(drawn) != keys(draw_sample(battles, "random", 33, 8))


def test_the_draw_does_not_depend_on_verdicts_or_on_the_files_order(battles):
    turned = [one._replace(points=tuple(1 - p for p in one.points), outcomes={}) for one in reversed(battles)]
    for sampling in ("random", "close"):
        assert keys(draw_sample(turned, sampling, 30, 7)) == keys(draw_sample(battles, sampling, 30, 7))


def test_close_takes_the_pairs_whose_battles_are_even():
    # Over eight pairs, alpha's battles with bravo and with charlie are the two (a quarter) that are most even.
    rows = []
    for place, (a, b) in enumerate(
        [("alpha", x) for x in "bravo charlie delta echo".split()] + [("x", y) for y in "abcd"]
    ):
        won = 3 if place < 2 else 0
        rows += [battle(n, a, b, (1.0 if n < won else 0.0,)) for n in range(6)]
    assert {one.pair for one in draw_sample(rows, "close", 8, 1)} == {
        ("alpha", "bravo"),
        ("alpha", "charlie"),
    }


def test_disagreement_takes_the_most_divided_battles_first():
    divided = battle(1, "a", "b", (1.0, 0.0))  # variance 1/4
    doubtful = battle(2, "a", "b", (1.0, 0.5))  # 1/16
    agreed = battle(3, "a", "b", (1.0, 1.0))
    assert keys(draw_sample([agreed, doubtful, divided], "disagreement", 5, 1)) == keys([divided, doubtful])
    with pytest.raises(ArenaError, match="agree on every battle"):
        draw_sample([agreed], "disagreement", 5, 1)
    with pytest.raises(ArenaError, match="no battle has a verdict"):
        draw_sample([], "random", 5, 1)


def test_points_come_from_the_games_of_both_orders(tmp_path):
    params, paths = make_review_project(tmp_path, 1)
    base = {"instruction_id": "t-0", "judge": "rubric-all v1"}
    write_rows(
        paths.arena_games,
        [
            Game(**base, first="alpha", second="bravo", score_first=8, score_second=4),
            Game(**base, first="bravo", second="alpha", score_first=8, score_second=4),
            Game(**base, first="bravo", second="alpha", score_first=5, score_second=5),
            Game(**base, first="bravo", second="alpha", unscored="no score"),
        ],
    )
    found = next(one for one in read_review_battles("arena", params, paths) if one.pair == ("alpha", "bravo"))
    # The other judge has no games here, so its battle counts.
    other = 1.0 if found.outcomes["reference v1"] == "a" else 0.0
    assert sorted(found.points) == sorted([1.0, 0.0, 0.5, other])


def test_another_answer_is_another_battle_and_a_refusal_is_none(tmp_path):
    params, paths = make_review_project(tmp_path, 2)
    before = {(*one.pair, one.instruction.id): one.key for one in read_review_battles("arena", params, paths)}
    rows = read_rows(paths.arena_responses("alpha"), Response)
    update = {"text": "", "finish_reason": "refused", "refusal": "too long"}
    write_rows(
        paths.arena_responses("alpha"),
        [rows[0].model_copy(update={"text": "anew"}), rows[1].model_copy(update=update)],
    )
    after = {(*one.pair, one.instruction.id): one.key for one in read_review_battles("arena", params, paths)}
    assert {name[:2] for name in before if name not in after} == {("alpha", other) for other in NAMES[1:]}
    changed = {name for name, key in after.items() if key != before[name]}
    assert changed == {("alpha", other, "t-0") for other in NAMES[1:]}
