"""The intervals of a board whose battles the adaptive schedule chose: they hold when it has stopped by itself."""

from dataclasses import replace

import numpy as np
import pytest

from arena_learning.core.errors import ArenaError
from arena_learning.rating import RatingParams, rate
from arena_learning.rating.stopping import (
    UNLIKELY,
    Boundary,
    level_at_stop,
    reach_at_stop,
    widening_at_stop,
)
from rating.stopped import FIXED, STOPPED, World, covered, play_until_it_stops, wrongly_separated

TODAY = replace(FIXED, bootstrap=400)


@pytest.fixture(scope="module")
def arena():
    """A small arena of four, played until the schedule stopped."""
    return play_until_it_stops(World(4, 100.0, gap=100.0), seed=3)


@pytest.mark.slow
def test_they_cover_at_the_real_schedules_stop():
    # Eight contestants, a third further apart than must be told: two are called separated when their gap looks
    # large, the battles go on elsewhere, and the errors of seven such gaps add up. The intervals of battles chosen
    # beforehand miss thrice as often as they say.
    world = World(8, 200.0, gap=150.0, instructions=400)
    arenas = [play_until_it_stops(world, seed) for seed in range(24)]
    assert {one.reason for one in arenas} == {"every pair of neighbours is separated or close"}
    today, found = ([covered(one, params) for one in arenas] for params in (TODAY, STOPPED))
    for kind in ("ratings", "differences"):
        assert np.mean([getattr(one, kind) for one in today]) < 0.90
        assert np.mean([getattr(one, kind) for one in found]) >= 0.945
    # And no wider than is said (less here: percentiles of lopsided battles are wide themselves).
    wider = np.mean([one.width for one in found]) / np.mean([one.width for one in today])
    assert 1.1 < wider < 1.02 * widening_at_stop(8)


@pytest.mark.slow
def test_equals_are_seldom_called_a_gain():
    world = World(4, 0.0, gap=100.0, instructions=400)
    arenas = [play_until_it_stops(world, seed) for seed in range(20)]
    wrong = sum(wrongly_separated(one, rate(one.battles, STOPPED)) for one in arenas)
    assert wrong <= 0.05 * 6 * len(arenas)


@pytest.mark.parametrize("true", [0.0, 0.5, 1.0, 1.5, 2.0, 4.0])
def test_of_two_contestants_they_cover_whatever_their_gap(true):
    # Brownian motion with the gap as its drift, looked at after a tenth more battles each time, stopped by the
    # schedule's own rules for neighbours: 10,000 paths, a true 95 % shows with a standard error of 0.2 %.
    generator, paths, gap = np.random.default_rng(0), 10_000, 20.0
    boundary = Boundary(gap, 0.95)
    needed = boundary.error_for(gap) ** -2
    at, before = np.zeros(paths), 0.0
    scaled = np.full(paths, np.nan)  # (estimate - truth) / error, at the stop
    for precision in needed / 140 * 1.1 ** np.arange(56):
        step = precision - before
        at += true * gap * step + np.sqrt(step) * generator.standard_normal(paths)
        before, error = precision, precision**-0.5
        estimate, reach = np.abs(at / precision), boundary.reach(error)
        stops = (estimate > reach) | (estimate + UNLIKELY * error < gap) | (reach <= gap)
        now = stops & np.isnan(scaled)
        scaled[now] = (at[now] / precision - true * gap) / error
    assert not np.isnan(scaled).any()
    assert (np.abs(scaled) <= reach_at_stop(2)).mean() >= 0.945
    if true == 1.5:
        assert (np.abs(scaled) <= 1.96).mean() < 0.90


def test_the_more_contestants_the_wider():
    assert reach_at_stop(1) == reach_at_stop(2)
    reaches = [reach_at_stop(number) for number in (2, 4, 6, 10, 30)]
    assert reaches == sorted(reaches)
    # Never as wide as what holds at all looks, with no rule about when to stop, for as many as a board has.
    assert reaches[0] > 1.96
    assert reaches[3] < 3.03
    assert 0.95 < level_at_stop(4) < level_at_stop(10) < 1
    assert widening_at_stop(4) == pytest.approx(reach_at_stop(4) / 1.96, abs=1e-4)


@pytest.mark.parametrize("interval", ["sandwich", "bootstrap"])
def test_everything_that_is_published_uses_them(arena, interval):
    same = {"anchor": ("m00", 1000.0), "cluster": "prompt", "interval": interval, "bootstrap": 4000}
    fixed, stopped = (rate(arena.battles, RatingParams(stop=stop, **same)) for stop in ("fixed", "adaptive"))
    for one in stopped.ratings:
        other = fixed[one.model]
        assert one.rating == other.rating
        if one.model != "m00":
            width, narrow = one.upper - one.lower, other.upper - other.lower
            assert width == pytest.approx(narrow * widening_at_stop(4), rel=0.08)
        gaps = [stopped.difference(one.model, o.model) for o in stopped.ratings if o is not one]
        assert one.rank_lower == 1 + sum(gap.lower > 0 for gap in gaps)
        assert one.rank_upper == 4 - sum(gap.upper < 0 for gap in gaps)
        for gap in gaps:
            like = fixed.difference(gap.from_model, gap.to_model)
            assert gap.lower < like.lower < like.upper < gap.upper
    assert [one.kind for one in stopped.diagnosis] == ["adaptive"]
    assert "1.26 times as wide" in stopped.diagnosis[0].message
    assert not fixed.diagnosis
    assert stopped.to_dict()["params"]["stop"] == "adaptive"


def test_who_chose_the_battles_is_said_rightly_or_refused():
    with pytest.raises(ArenaError, match=r"(?s)stop is 'adaptiv'.*did you mean 'adaptive'"):
        RatingParams(stop="adaptiv")
    with pytest.raises(ArenaError, match=r"level is 0\.9, .*only 0\.95 is supported"):
        RatingParams(stop="adaptive", level=0.9)


def test_the_same_seed_plays_the_same(arena):
    again = play_until_it_stops(World(4, 100.0, gap=100.0), seed=3)
    assert (again.battles.points == arena.battles.points).all()
    assert (again.elo == arena.elo).all()
