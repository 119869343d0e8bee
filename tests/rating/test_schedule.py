"""Choosing battles: nothing twice, only newcomers' own, where it tells most; a stop that may look often."""

import math

import numpy as np
import pandas as pd
import pytest

from arena_learning.core.errors import ArenaError
from arena_learning.rating.allocate import Standing, battle_information, likely_neighbours, spread_counts
from arena_learning.rating.schedule import (
    Planned,
    ScheduleParams,
    all_battles,
    anchored_battles,
    plan_adaptive,
)
from arena_learning.rating.stopping import Boundary, adjacent_pairs, separated, settled

NAMES = ("a", "b", "c", "d")
ELO = {"a": 1200.0, "b": 1100.0, "c": 1000.0, "d": 900.0}
ASKED = [f"q{i}" for i in range(600)]


def play(plan, generator, elo=ELO):
    rows = []
    for one in plan:
        share = 1 / (1 + 10 ** ((elo[one.model_b] - elo[one.model_a]) / 400))
        rows.append(
            (
                one.model_a,
                one.model_b,
                "model_a" if generator.random() < share else "model_b",
                one.instruction,
            )
        )
    return rows


def frame(rows):
    return pd.DataFrame(rows, columns=["model_a", "model_b", "winner", "prompt_id"])


def test_all_and_anchored():
    everything = all_battles(NAMES, ["q1", "q2"])
    assert len(everything) == len(set(everything)) == 12
    played = [Planned("b", "a", "q1")]  # in the other order: still played
    assert set(everything) - set(all_battles(NAMES, ["q1", "q2"], played)) == {Planned("a", "b", "q1")}
    assert {frozenset(one[:2]) for one in anchored_battles(NAMES, "c", ["q1"])} == {
        frozenset(pair) for pair in ("ac", "bc", "cd")
    }


def test_adding_a_model_plays_only_its_own():
    played = all_battles("abc", ["q1", "q2"])
    assert {"d"} == set.intersection(*({*one[:2]} for one in all_battles("abcd", ["q1", "q2"], played)))
    table = frame(play(played, np.random.default_rng(0)))
    plan = plan_adaptive(table, NAMES, ASKED, played=played, newcomers=["d"])
    assert plan.battles
    assert all("d" in one[:2] for one in plan.battles)


def test_the_first_battles_connect_everybody():
    plan = plan_adaptive(None, NAMES, ASKED, ScheduleParams(start=3, seed=1))
    fought = [name for one in plan.battles for name in one[:2]]
    assert all(fought.count(name) >= 3 for name in NAMES)
    assert len(set(plan.battles)) == len(plan.battles)
    assert plan == plan_adaptive(None, NAMES, ASKED, ScheduleParams(start=3, seed=1))


def test_it_plays_until_neighbours_are_separated():
    generator, rows, played, claims = np.random.default_rng(1), [], [], frozenset()
    params = ScheduleParams(gap=50.0, start=10)
    for _ in range(200):
        table = frame(rows) if rows else None
        plan = plan_adaptive(table, NAMES, ASKED, params, played=played, separated_before=claims)
        claims = plan.separated
        assert not set(plan.battles) & set(played)
        played += plan.battles
        rows += play(plan.battles, generator)
        if plan.done:
            break
    assert plan.done
    assert [plan.models[pair.upper] for pair in plan.neighbours] == ["a", "b", "c"]
    assert {pair.state for pair in plan.neighbours} == {"separated"}
    assert len(played) < 6 * 600 / 2


def test_the_budget_and_the_pool_end_it():
    played = all_battles(NAMES, ASKED[:5])
    assert plan_adaptive(None, NAMES, ASKED[:5], played=played).reason == "every battle was played"
    params = ScheduleParams(budget=len(played))
    assert plan_adaptive(None, NAMES, ASKED, params, played=played).reason == "the budget is spent"
    table = frame(play(played, np.random.default_rng(0)))
    params = ScheduleParams(budget=len(played) + 7, start=1)
    assert 0 < len(plan_adaptive(table, NAMES, ASKED, params, played=played).battles) <= 7


def test_what_cannot_be_planned():
    with pytest.raises(ArenaError, match="nothing to play"):
        plan_adaptive(None, ["a"], ASKED)
    with pytest.raises(ArenaError, match="must be positive"):
        ScheduleParams(gap=0)
    played = all_battles("abcd", ASKED[:9])
    table = frame(play(played, np.random.default_rng(0)))
    table.loc[table.model_a == "a", "model_a"] = "z"
    with pytest.raises(ArenaError, match="not to be ranked: z"):
        plan_adaptive(table, NAMES, ASKED, ScheduleParams(start=5), played=played)


def test_who_has_no_verdict_is_asked_about_until_nothing_is_left():
    played = all_battles(NAMES, ASKED[:10])
    table = frame(play([one for one in played if "d" not in one[:2]], np.random.default_rng(0)))
    params = ScheduleParams(start=5)
    plan = plan_adaptive(table, NAMES, ASKED[:11], params, played=played)
    assert {one[:2] for one in plan.battles} == {("a", "d"), ("b", "d"), ("c", "d")}
    assert plan.reason == "some contestants have no scored battle with the others"
    plan = plan_adaptive(table, NAMES, ASKED[:11], params, played=played + plan.battles)
    assert plan.done
    assert plan_adaptive(frame([]), NAMES, ASKED[:11], params, played=played).battles


def test_a_small_budget_is_not_the_alphabets():
    plan = plan_adaptive(None, [f"m{i:02}" for i in range(20)], ASKED, ScheduleParams(start=20, budget=60))
    assert len(plan.battles) == 60
    fought = {name for one in plan.battles for name in one[:2]}
    assert len(fought) > 15  # in the order of pairs, the first four would have had it all


def test_who_was_separated_once_stays_so():
    played = all_battles(NAMES, ASKED[:30])
    table = frame(play(played, np.random.default_rng(0)))
    params = ScheduleParams(start=5)
    alone = plan_adaptive(table, NAMES, ASKED, params, played=played)
    assert ("a", "b") not in alone.separated
    told = plan_adaptive(table, NAMES, ASKED, params, played=played, separated_before={("a", "b")})
    assert told.separated == alone.separated | {("a", "b")}
    # But not against what the ratings say by now.
    assert ("d", "a") not in plan_adaptive(
        table, NAMES, ASKED, params, played=played, separated_before={("d", "a")}
    ).separated


def test_a_schedule_separates_the_wrong_way_less_often_than_it_says():
    # 60 arenas of four, looked at after every batch, with pairs 15 Elo apart and none: claims of either kind in the
    # wrong direction, or between equals, may be made in one of twenty pairs.
    elo = {"a": 1015.0, "b": 1000.0, "c": 1000.0, "d": 985.0}
    wrong = 0
    for seed in range(60):
        generator, rows, played, claims = np.random.default_rng(seed), [], [], frozenset()
        params = ScheduleParams(start=20, growth=0.5, budget=800, seed=seed)
        for _ in range(20):
            table = frame(rows).drop(columns="prompt_id") if rows else None
            plan = plan_adaptive(table, NAMES, ASKED, params, played=played, separated_before=claims)
            claims = plan.separated
            if plan.done:
                break
            played += plan.battles
            rows += play(plan.battles, generator, elo)
        wrong += sum(elo[better] <= elo[worse] for better, worse in claims)
    assert wrong <= 0.05 * 60  # of the one pair of equals, and the five others together


def test_likely_neighbours_are_those_of_the_ranking_and_those_that_may_be():
    # b and c cannot be told apart, d is far away: a or either may be next to the other, but a never to d.
    elo = np.array([60.0, 1.0, 0.0, -500.0])
    standing = Standing(elo, np.diag([25.0] * 4), np.eye(4), np.eye(4), np.zeros(4, dtype=np.int64))
    likely = likely_neighbours(standing, np.random.default_rng(0))
    assert {tuple(pair) for pair in np.argwhere(likely)} == {(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)}


def test_one_difference_is_best_told_by_its_own_battles():
    # Of two contestants alike, a battle between them tells 1/4; one with a third tells each alone 1/4 as
    # well, and the difference a quarter of it.
    information = battle_information(np.array([0.0, 0.0, 0.0]), 400.0)
    assert information[0, 1] == pytest.approx(0.25)
    room = np.full((3, 3), 1000)
    start = np.linalg.inv(10 * (3 * np.eye(3) - 1) * 0.25 + np.ones((3, 3)))
    counts = spread_counts(start, information, (np.array([0]), np.array([1])), np.array([1e-9]), room, 100)
    assert counts[0, 1] == counts.sum() == 100


def test_portions_stop_at_what_is_wanted_and_in_full_rooms():
    information = battle_information(np.array([0.0, 0.0, 0.0]), 400.0)
    start = np.linalg.inv(10 * (3 * np.eye(3) - 1) * 0.25 + np.ones((3, 3)))
    ask = (np.array([0]), np.array([1]))
    generous = spread_counts(start, information, ask, np.array([10.0]), np.full((3, 3), 1000), 100)
    assert 0 < generous.sum() <= 15
    room = np.zeros((3, 3), dtype=np.int64)
    room[0, 1] = 4
    assert spread_counts(start, information, ask, np.array([1e-9]), room, 100).sum() == 4


def test_the_boundary_is_tightest_where_it_matters():
    boundary = Boundary(20.0, 0.95)
    error = boundary.error_for(20.0)
    assert boundary.reach(error) == pytest.approx(20.0)
    # Robbins' mixture at its best for alpha = 0.05: about 3.03 standard errors, where one look needs 1.96.
    assert boundary.reach(error) / error == pytest.approx(3.03, abs=0.02)
    for factor in (0.3, 3.0):
        assert boundary.reach(error * factor) / (error * factor) > 3.03


def test_looking_often_does_not_deceive():
    # 4,000 random walks without any drift, looked at after each of 300 steps: one in twenty may ever leave
    # the boundary. A fixed 1.96 is left by about half of them.
    generator = np.random.default_rng(0)
    steps = generator.standard_normal((4000, 300)).cumsum(axis=1)
    number = np.arange(1, 301)
    error = 10 / np.sqrt(number)
    boundary = Boundary(20.0, 0.95)
    reach = boundary.reaches(error)
    estimate = np.abs(steps) / number * 10
    assert (estimate > reach).any(axis=1).mean() <= 0.05
    assert (estimate > 1.96 * error).any(axis=1).mean() > 0.35


def test_states_of_neighbours():
    boundary = Boundary(20.0, 0.95)
    elo = np.array([0.0, 100.0, 99.0, 60.0])
    covariance = np.diag([1.0, 2.0, 2.0, 200.0])
    standing = Standing(elo, covariance, covariance, covariance, np.zeros(4, dtype=np.int64))
    above = separated(standing.gap, standing.error, boundary)
    found = adjacent_pairs(standing.gap, standing.error, boundary, above)
    assert [(pair.upper, pair.lower, pair.state) for pair in found] == [
        (1, 2, "close"),  # 1 Elo apart with an error of 2
        (2, 3, "open"),  # 39 apart with an error of 14
        (3, 0, "separated" if boundary.reach(math.sqrt(201)) < 60 else "open"),
    ]
    assert not settled(found)
