"""When a trial is clearly worse than the best one, judged by the pairs that both have seen.

A sign test on the pairs where one hits and the other misses, one-sided and exact, its level shared among the looks.
Optuna's WilcoxonPruner, as it comes, tests at 0.1 after every block and so prunes a judge that is as good as the best
in 18 to 26 % of the cases; with its level shared out it does as this one (benchmarks/sweep_pruning.py), through a
normal approximation that hits and misses are too coarse for.
"""

from __future__ import annotations

from collections.abc import Mapping

LEVEL = 0.1  # how often a judge as good as the best is pruned, over all looks of a trial


def clearly_worse(hits: Mapping[int, float], best: Mapping[int, float], looks: int) -> str:
    """Return why a trial is pruned, or an empty string.

    Args:
        hits: the trial's, 1 or 0, by pair.
        best: those of the best feasible trial; empty where there is none.
        looks: how often this is asked in the course of a whole trial.
    """
    both = hits.keys() & best.keys()
    wins = sum(hits[place] > best[place] for place in both)
    losses = sum(hits[place] < best[place] for place in both)
    if wins >= losses:
        return ""
    from scipy.stats import binomtest

    if binomtest(wins, wins + losses, alternative="less").pvalue > LEVEL / max(1, looks):
        return ""
    return f"clearly worse than the best: {wins} pairs better, {losses} worse"
