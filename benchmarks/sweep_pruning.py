"""How often a sweep gives up a judge as good as the best one, and how much of a worse judge it saves.

    python benchmarks/sweep_pruning.py [--repeats N] [--pairs N]

Two simulated judges hit each of N labelled pairs with their own probabilities; how hard a pair is, they share. The
second one is looked at after every block of 15 pairs, by Optuna's WilcoxonPruner (its level as it comes, 0.1, and
divided by the looks) and by `arena_learning.sweep.judge.pruning`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from arena_learning.sweep.judge.pruning import clearly_worse
from arena_learning.sweep.judge.task import BLOCK

Hits = dict[int, float]
Rule = Callable[[Hits, Hits, int], bool]


def wilcoxon(level: float) -> Rule:
    """Return Optuna's rule; its own code on a study in memory would do the same and take minutes."""
    from scipy.stats import wilcoxon as test

    def rule(hits: Hits, best: Hits, looks: int) -> bool:
        gaps = np.array([hits[i] - best[i] for i in hits])
        worse = test(gaps, alternative="less", zero_method="zsplit").pvalue < level
        return bool(worse and sum(hits.values()) / len(hits) < sum(best.values()) / len(best))

    return rule


def simulate(
    rule: Rule, best: float, other: float, pairs: int, repeats: int, seed: int
) -> tuple[float, float]:
    """Return how often the other judge is given up, and the share of its pairs that is then saved, over all."""
    rng = np.random.default_rng(seed)
    looks = -(-pairs // BLOCK)
    given_up, saved = 0, 0
    for _ in range(repeats):
        hard = rng.random(pairs) < 0.4  # here both guess, elsewhere both are better than that
        rates = [np.where(hard, 0.5, (rate - 0.2) / 0.6) for rate in (best, other)]
        first, second = (dict(enumerate((rng.random(pairs) < rate).astype(float))) for rate in rates)
        for seen in range(BLOCK, pairs, BLOCK):
            if rule({i: second[i] for i in range(seen)}, first, looks):
                given_up += 1
                saved += pairs - seen
                break
    return given_up / repeats, saved / (repeats * pairs)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--pairs", type=int, nargs="+", default=[90, 230])
    given = parser.parse_args()
    rules: dict[str, Rule] = {
        "WilcoxonPruner, 0.1": wilcoxon(0.1),
        "WilcoxonPruner, 0.1 / looks": None,  # type: ignore[dict-item]  # depends on the pairs
        "sign test, 0.1 in all": lambda hits, best, looks: bool(clearly_worse(hits, best, looks)),
    }
    print(
        "pairs  rule                          as good: given up   10 points worse   20 points worse   saved"
    )
    for pairs in given.pairs:
        looks = -(-pairs // BLOCK)
        for name, rule in rules.items():
            used = rule or wilcoxon(0.1 / looks)
            cells = [simulate(used, 0.6, 0.6 - gap, pairs, given.repeats, 7) for gap in (0.0, 0.1, 0.2)]
            print(
                f"{pairs:5}  {name:28}  {cells[0][0]:17.1%}  {cells[1][0]:16.1%}  {cells[2][0]:16.1%}  "
                f"{cells[2][1]:6.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
