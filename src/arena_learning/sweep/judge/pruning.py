"""Prune a trial that is clearly worse than the best one on the pairs that both have judged.

The test is an exact one-sided sign test on the pairs where one hits and the other misses, its level divided among the
looks. Optuna's WilcoxonPruner as it comes tests at 0.1 after every block, and so prunes 18 to 26 % of the judges that
are as good as the best. With a divided level it does as well as this test (benchmarks/sweep_pruning.py), but by a
normal approximation that is too coarse for hits and misses.
"""

from __future__ import annotations

from collections.abc import Mapping

LEVEL = 0.1  # probability that a judge as good as the best is pruned, over all looks of a trial


def clearly_worse(hits: Mapping[int, float], best: Mapping[int, float], looks: int) -> str:
    """Return why a trial is pruned, or an empty string.

    Args:
        hits: the trial's hits, 1 or 0, by pair.
        best: the best feasible trial's hits; empty if there is none.
        looks: the number of calls in a whole trial.
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
