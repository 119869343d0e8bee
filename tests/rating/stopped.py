"""Simulated arenas played by the real adaptive schedule until it stops: used by a test and by benchmarks/rating_stop.py.

The points of a battle have exactly the mean that the two ratings give, so that the truth is known however battles are
chosen. Ties take their share evenly from wins and losses. Battles of one instruction are alike: it suits some
contestants more than others, through a Gaussian copula, which leaves each battle's mean as it is.
"""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from arena_learning.leaderboard.schedule import _GROWTH
from arena_learning.rating import Battles, RatingParams, RatingResult, rate
from arena_learning.rating.schedule import Planned, ScheduleParams, plan_adaptive

ANCHOR = 1000.0
FIXED = RatingParams(cluster="prompt")
STOPPED = RatingParams(cluster="prompt", interval="sandwich", stop="adaptive")
# The normal distribution function at thousandths: exact enough for verdicts, and without SciPy.
_GRID = np.linspace(-6, 6, 12_001)
_BELOW = np.array([NormalDist().cdf(one) for one in _GRID])


class World(NamedTuple):
    """Contestants ``spacing`` Elo points apart, and how they are played.

    Attributes:
        contestants: how many.
        spacing: Elo points from each to the next.
        gap: neighbours this far apart must be told apart.
        instructions: how many there are.
        ties: share of ties between equals, 0 to 0.5.
        alike: share of a battle's variance that its instruction decides, 0 to 1.
        budget: battles that each contestant brings along, or 0.
        late: how many of the contestants join one after the other when the others have settled.
    """

    contestants: int
    spacing: float
    gap: float = 20.0
    instructions: int = 2000
    ties: float = 0.3
    alike: float = 0.3
    budget: int = 0
    late: int = 0


class Stopped(NamedTuple):
    """What was played by the schedule's stop: the battles, the true ratings ``(models,)`` and why it stopped."""

    battles: Battles
    elo: np.ndarray
    reason: str


class Cover(NamedTuple):
    """What intervals did, one arena: which covered, and how wide they were.

    Attributes:
        ratings: of the ratings about the anchor, ``(models - 1,)``.
        differences: of the differences of all two, the one further from the other the later, ``(pairs,)``.
        width: mean width of the differences' intervals, Elo points.
    """

    ratings: np.ndarray
    differences: np.ndarray
    width: float


def play_until_it_stops(world: World, seed: int) -> Stopped:
    """Play one arena by `plan_adaptive`, as `board.choose.play_adaptive` does; the same seed gives the same."""
    generator = np.random.default_rng([seed, 7])
    names = tuple(f"m{i:02}" for i in range(world.contestants))
    elo = ANCHOR + generator.permutation(world.contestants) * world.spacing
    asked = [f"q{i:05}" for i in range(world.instructions)]
    place = {name: i for i, name in enumerate((*names, *asked))}
    suits = generator.standard_normal((world.instructions, world.contestants))
    played: list[Planned] = []
    rows = np.empty((0, 4), dtype=np.int64)
    separated: frozenset[tuple[str, str]] = frozenset()
    founders = world.contestants - world.late
    for present in range(founders, world.contestants + 1):
        new = names[founders:present][-1:]
        budget = len(played) + world.budget * (len(new) or present) if world.budget else None
        how = ScheduleParams(gap=world.gap, growth=_GROWTH, budget=budget, seed=seed)
        while True:
            plan = plan_adaptive(
                _battles(names, rows) if len(rows) else None,
                names[:present],
                asked,
                how,
                played=played,
                newcomers=new,
                separated_before=separated,
            )
            separated = plan.separated
            if plan.done:
                break
            played += plan.battles
            codes = np.array([[place[name] for name in one] for one in plan.battles])
            codes[:, 2] -= world.contestants
            points = _points(world, elo, suits, codes, generator)
            rows = np.concatenate([rows, np.column_stack([codes, points])])
    return Stopped(_battles(names, rows), elo, plan.reason)


def _points(
    world: World, elo: np.ndarray, suits: np.ndarray, codes: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    a, b, asked = codes.T
    mean = 1 / (1 + 10 ** ((elo[b] - elo[a]) / 400))
    half = 2 * world.ties * mean * (1 - mean)  # of the share of ties; at most the smaller of both shares
    chance = math.sqrt(world.alike / 2) * (suits[asked, b] - suits[asked, a])
    chance += math.sqrt(1 - world.alike) * generator.standard_normal(len(a))
    uniform = np.interp(chance, _GRID, _BELOW)
    return np.where(uniform < mean - half, 2, np.where(uniform < mean + half, 1, 0))


def _battles(names: tuple[str, ...], rows: np.ndarray) -> Battles:
    a, b, asked, points = rows.T
    held, prompt = np.unique(asked, return_inverse=True)
    return Battles(
        names[: max(a.max(), b.max()) + 1],  # who joins later has not fought yet
        a.astype(np.int32),
        b.astype(np.int32),
        points.astype(np.int8),
        prompt=prompt.astype(np.int32),
        prompts=len(held),
    )


def covered(stopped: Stopped, params: RatingParams) -> Cover:
    """Say which intervals of ``params`` hold the truth; the anchor is the contestant that is truly lowest."""
    names, elo = stopped.battles.models, stopped.elo
    lowest = int(np.argmin(elo))
    anchor = (names[lowest], float(elo[lowest]))
    result = rate(stopped.battles, replace(params, anchor=anchor))
    ratings = [
        result[name].lower <= true <= result[name].upper
        for name, true in zip(names, elo, strict=True)
        if name != anchor[0]
    ]
    order = np.argsort(elo, kind="stable")
    hits, widths = [], []
    for steps in range(1, len(names)):
        for low, high in zip(order[:-steps], order[steps:], strict=True):
            found = result.difference(names[low], names[high])
            hits.append(found.lower <= elo[high] - elo[low] <= found.upper)
            widths.append(found.upper - found.lower)
    return Cover(np.array(ratings), np.array(hits), float(np.mean(widths)))


def wrongly_separated(stopped: Stopped, result: RatingResult) -> int:
    """Count the pairs that ``result`` separates although they are equal, or the wrong way round."""
    names, elo = stopped.battles.models, stopped.elo
    return sum(
        found.separated and found.difference * (elo[j] - elo[i]) <= 0
        for i in range(len(names))
        for j in range(i)
        for found in [result.difference(names[i], names[j])]
    )
