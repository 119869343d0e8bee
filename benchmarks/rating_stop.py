"""What the intervals of an adaptive leaderboard cover when the schedule has stopped by itself.

    PYTHONPATH=tests python benchmarks/rating_stop.py [--arenas 100] [--seed 1] [--contestants 4 6 10]

Simulated arenas (tests/rating/stopped.py) of contestants equally far apart are played by the real schedule until it
stops. Each is rated as a board is, with the intervals of battles chosen beforehand (``fixed``) and with those that
allow for the stop (``stop``). A line a world: coverage of the ratings about the anchor (the truly lowest), of all
differences, of the difference between the highest and the lowest, in per cent; how much wider the differences'
intervals are; and why the schedule stopped. What one arena's intervals cover hangs together: standard errors are taken
over arenas.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterable

import numpy as np

from rating.stopped import FIXED, STOPPED, World, covered, play_until_it_stops

SPACINGS = (0.0, 10.0, 20.0, 40.0, 80.0)
REASONS = {
    "every pair of neighbours is separated or close": "settled",
    "every battle was played": "all played",
    "the budget is spent": "budget",
}
HEAD = (
    f"{'models':>6} {'apart':>5} {'gap':>4} {'asked':>5} {'ties':>4} {'alike':>5} {'budget':>6} {'late':>4} "
    f"{'arenas':>6} {'battles':>7} | {'fixed: ratings':>14} {'differences':>12} {'far':>5} | {'stop: ratings':>14} "
    f"{'differences':>12} {'far':>5} | {'wider':>5} | stopped"
)


def share(hits: list[np.ndarray]) -> str:
    """Return the mean over arenas in per cent with its standard error."""
    means = np.array([one.mean() for one in hits])
    return f"{100 * means.mean():.1f} +- {100 * means.std(ddof=1) / len(means) ** 0.5:.1f}"


def line(world: World, seeds: Iterable[int]) -> str:
    """Play a world's arenas and return its line of the table."""
    played = [play_until_it_stops(world, seed) for seed in seeds]
    fixed, stop = ([covered(one, params) for one in played] for params in (FIXED, STOPPED))
    cells = [
        f"{share([one.ratings for one in kind]):>14} {share([one.differences for one in kind]):>12} "
        f"{100 * np.mean([one.differences[-1] for one in kind]):5.1f}"
        for kind in (fixed, stop)
    ]
    wider = np.mean([one.width for one in stop]) / np.mean([one.width for one in fixed])
    reasons = Counter(REASONS[one.reason] for one in played)
    battles = np.median([len(one.battles) for one in played])
    return (
        f"{world.contestants:6} {world.spacing:5.0f} {world.gap:4.0f} {world.instructions:5} {world.ties:4.1f} "
        f"{world.alike:5.1f} {world.budget:6} {world.late:4} {len(played):6} {battles:7.0f} | "
        f"{cells[0]} | {cells[1]} | {wider:5.2f} | {', '.join(f'{k} {n}' for k, n in reasons.items())}"
    )


def worlds(contestants: Iterable[int], gaps: Iterable[float]) -> Iterable[World]:
    """Yield the table's worlds: all spacings; then other noise, few instructions, a budget, latecomers."""
    for gap in gaps:
        for models in contestants:
            yield from (World(models, spacing, gap) for spacing in SPACINGS)
            yield World(models, 40.0, gap, ties=0.0, alike=0.0)
            yield World(models, 40.0, gap, ties=0.4, alike=0.6)
            yield World(models, 40.0, gap, instructions=243)
            yield World(models, 40.0, gap, budget=100)
            yield World(models, 40.0, gap, late=models // 2)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arenas", type=int, default=100, help="of each world")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--contestants", type=int, nargs="+", default=[4, 6, 10])
    parser.add_argument("--gap", type=float, nargs="+", default=[50.0], help="Elo points to be told apart")
    options = parser.parse_args()
    start = time.time()
    print(HEAD)
    for world in worlds(options.contestants, options.gap):
        first = 10_000 * options.seed
        print(line(world, range(first, first + options.arenas)), flush=True)
    print(f"{time.time() - start:.0f} s")


if __name__ == "__main__":
    main()
