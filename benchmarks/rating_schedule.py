"""Battles that the adaptive schedule needs against all-play-all, on simulated arenas with published ratings.

    python benchmarks/rating_schedule.py arena_published_20240904.csv

Each arena draws 30 models from the published list; a battle is won with the probability that its published
ratings give. Both schedules look with the same intervals, valid at all looks. Reported are medians over
arenas of the battles until (1) Spearman with the true ratings is 0.99 or more and every pair of true
neighbours 20 Elo or more apart is separated the right way, and (2) the adaptive schedule stops by itself,
which cannot see the true ratings. The bound is what the best fixed design would need if it knew the true
ratings: the variances of all the separable neighbours' differences brought to what separates them at one half
power, for the fewest battles (`design_bound`); it need not reach the Spearman.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from arena_learning.rating.agreement import spearman
from arena_learning.rating.allocate import Standing, allocate, battle_information
from arena_learning.rating.fit import grounded, information, newton
from arena_learning.rating.fold import Games, Pairs
from arena_learning.rating.graph import bridges
from arena_learning.rating.schedule import ScheduleParams
from arena_learning.rating.stopping import Boundary, adjacent_pairs, separated, settled

UNIT = 400 / math.log(10)
TARGET = 0.99


class Arena:
    """A simulated arena: counts and points of each pair, and the fit of them."""

    def __init__(self, elo: np.ndarray, generator: np.random.Generator) -> None:
        self.elo, self.generator = elo, generator
        size = len(elo)
        self.pairs = Pairs(size, *np.triu_indices(size, 1))
        self.share = 1 / (1 + 10 ** ((elo[self.pairs.hi] - elo[self.pairs.lo]) / 400))
        self.games = np.zeros(len(self.pairs))
        self.points = np.zeros(len(self.pairs))
        self.theta: np.ndarray | None = None

    def play(self, counts: np.ndarray) -> None:
        self.games += counts
        self.points += self.generator.binomial(counts.astype(np.int64), self.share)

    def stand(self) -> Standing:
        size = len(self.elo)
        groups = np.zeros(size, dtype=np.int64)
        games = Games(self.games[:, None], self.points[:, None])
        games = games.plus_even(bridges(self.pairs, games, self.games)[0])
        self.theta = newton(self.pairs, games, groups, self.theta)
        inverse = np.linalg.inv(grounded(information(self.pairs, games, self.theta), groups)[0])
        elo = self.theta[:, 0] * UNIT
        return Standing(elo, inverse * UNIT**2, inverse, battle_information(elo, 400), groups)


def reached(standing: Standing, elo: np.ndarray, above: np.ndarray, gap: float) -> bool:
    """Whether the ranking correlates and all true neighbours that can be separated are, the right way."""
    rho = spearman(standing.elo, elo)
    return rho is not None and rho >= TARGET and all(above[pair] for pair in separable(elo, gap))


def separable(elo: np.ndarray, gap: float) -> list[tuple[int, int]]:
    order = np.argsort(-elo)
    return [(i, j) for i, j in pairwise(order) if elo[i] - elo[j] >= gap]


class Run(NamedTuple):
    """Battles to the target and to the schedule's own stop; whether the target was reached by then; and the
    share of separated pairs at the end that are separated the wrong way.
    """

    battles: int
    stopped: int
    stopped_right: bool
    wrong: float


Choose = Callable[[Standing, np.ndarray, int], np.ndarray]


def run(elo: np.ndarray, arena: Arena, choose: Choose, params: ScheduleParams, limit: int) -> Run:
    """Look, choose and play until the target is reached and the schedule would have stopped by itself."""
    boundary, size = Boundary(params.gap, params.level), len(elo)
    above = np.zeros((size, size), dtype=bool)
    target = stop = 0
    right = False
    while arena.games.sum() < limit and not (target and stop):
        total, standing = int(arena.games.sum()), arena.stand()
        above = separated(standing.gap, standing.error, boundary, above)
        now = reached(standing, elo, above, params.gap)
        target = target or (total if now else 0)
        if not stop and settled(adjacent_pairs(standing.gap, standing.error, boundary, above)):
            stop, right = total, now
        counts = choose(standing, above, max(params.least, math.ceil(params.growth * total)))
        arena.play(counts[arena.pairs.lo, arena.pairs.hi])
    wrong = (above & (elo[:, None] < elo[None, :])).sum() / max(1, above.sum())
    return Run(target or limit, stop or limit, right, float(wrong))


def run_adaptive(elo: np.ndarray, params: ScheduleParams, seed: int, limit: int) -> Run:
    """Play adaptively, past its own stop if it has not reached the target by then."""
    arena, size = Arena(elo, np.random.default_rng(seed)), len(elo)
    room = np.triu(np.full((size, size), 10**9), 1)
    start, chance = np.zeros((size, size)), np.random.default_rng(seed)
    for _ in range(params.start // 2):
        ring = arena.generator.permutation(size)
        low, high = np.minimum(ring, np.roll(ring, 1)), np.maximum(ring, np.roll(ring, 1))
        start[low, high] += 1
    arena.play(start[arena.pairs.lo, arena.pairs.hi])
    boundary = Boundary(params.gap, params.level)

    def choose(standing: Standing, above: np.ndarray, batch: int) -> np.ndarray:
        return allocate(standing, above, room, batch, boundary, 400, generator=chance)

    return run(elo, arena, choose, params, limit)


def run_all(elo: np.ndarray, params: ScheduleParams, seed: int, limit: int) -> Run:
    """Play every pair equally often; the same looks."""
    arena = Arena(elo, np.random.default_rng(seed))
    arena.play(np.ones(len(arena.pairs)))

    def choose(standing: Standing, above: np.ndarray, batch: int) -> np.ndarray:
        return np.full(above.shape, float(max(1, math.ceil(batch / len(arena.pairs)))))

    return run(elo, arena, choose, params, limit)


class Bound(NamedTuple):
    """Battles of the best design found, those of equal play, and a proven lower bound of the best."""

    best: float
    equal: float
    proven: float


def design_bound(elo: np.ndarray, boundary: Boundary, steps: int = 4000) -> Bound:
    """Solve for the design that needs fewest battles, knowing the true ratings.

    Minimises over shares w of the battles the largest of ``variance_k(w) / wanted_k`` by multiplicative
    updates of a smooth maximum. ``proven`` is a lower bound on the same by the equivalence theorem.
    """
    size = len(elo)
    asked = separable(elo, boundary.gap)
    upper, lower = (np.array(side) for side in zip(*asked, strict=True))
    wanted = np.array([(boundary.error_for(elo[i] - elo[j]) / UNIT) ** 2 for i, j in asked])
    info = battle_information(elo, 400)
    low, high = np.triu_indices(size, 1)
    value = info[low, high]

    def solve(share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        weight = np.zeros((size, size))
        weight[low, high] = share * value
        weight += weight.T
        matrix = np.diag(weight.sum(axis=1)) - weight + np.ones((size, size)) / size
        inverse = np.linalg.inv(matrix)
        reach = inverse[:, upper] - inverse[:, lower]
        return reach, (reach[upper, range(len(upper))] - reach[lower, range(len(upper))]) / wanted

    equal = float(solve(np.full(len(low), 1 / len(low)))[1].max())
    share = np.full(len(low), 1 / len(low))
    best, proven = equal, 0.0
    for step in range(steps):
        sharp = 2 + 30 * min(1.0, 2 * step / steps)
        reach, ratio = solve(share)
        best = min(best, float(ratio.max()))
        push = (ratio / ratio.max()) ** (sharp - 1)
        push /= push.sum()
        # For weights push, min over designs of sum push * ratio is a lower bound on the minimal maximum.
        gain = value * (((reach[low] - reach[high]) ** 2) * (push / wanted)).sum(axis=1)
        average = float((push * ratio).sum())
        proven = max(proven, average**2 / float(gain.max()))
        share = share * np.sqrt(gain / max(float((share * gain).sum()), 1e-300))
        share = np.maximum(share, 1e-12) / np.maximum(share, 1e-12).sum()
    return Bound(best, equal, proven)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("published", help="CSV with model and rating")
    parser.add_argument("--arenas", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1000, help="of the first arena")
    parser.add_argument("--models", type=int, default=30)
    parser.add_argument("--limit", type=int, default=600_000)
    parser.add_argument(
        "--start", type=int, default=20, help="battles of each contestant before the first look"
    )
    options = parser.parse_args()
    published = pd.read_csv(options.published).rating.to_numpy()
    params = ScheduleParams(start=options.start)
    boundary = Boundary(params.gap, params.level)
    rows = []
    head = "arena separable      all adaptive ratio |     best    equal ratio proven | "
    print(head + "all stops adaptive ratio right wrong")
    for seed in range(options.seed, options.seed + options.arenas):
        generator = np.random.default_rng(seed)
        elo = np.sort(generator.choice(published, options.models, replace=False))[::-1]
        one, other = (play(elo, params, seed, options.limit) for play in (run_all, run_adaptive))
        bound = design_bound(elo, boundary)
        row = (other.battles / one.battles, bound.best / bound.equal, other.stopped / one.stopped)
        rows.append(row)
        print(
            f"{seed:5} {len(separable(elo, params.gap)):9} {one.battles:8} {other.battles:8} {row[0]:5.3f} | "
            f"{bound.best:8.0f} {bound.equal:8.0f} {row[1]:5.3f} {bound.proven / bound.best:6.3f} | "
            f"{one.stopped:9} {other.stopped:8} {row[2]:5.3f} {other.stopped_right!s:>5} {other.wrong:.4f}",
            flush=True,
        )
    names = ("adaptive / all", "best possible / all", "own stop: adaptive / all")
    for name, column in zip(names, zip(*rows, strict=True), strict=True):
        print(f"median {name}: {statistics.median(column):.3f} (from {min(column):.3f} to {max(column):.3f})")


if __name__ == "__main__":
    main()
