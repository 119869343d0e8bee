"""The figures of an ablation: each arm against the start, and arms against each other.

An instruction counts once: its score differences are averaged over the seeds before anything is resampled. Intervals
therefore say how the trained models differ on such instructions; how trainings under other seeds would differ is seen
from the means of the single seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from statistics import fmean
from typing import Any

from arena_learning.rating import RatingParams, rate
from arena_learning.sweep.ablation.arms import Arm
from arena_learning.sweep.looks import corrected
from arena_learning.sweep.statistics import detectable, deviation, estimate, holm, needed, paired_test

Results = Mapping[str, Sequence[Mapping[str, Any]]]  # by arm: one for each seed
Pair = tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]  # of one seed each, in the same order
LEVEL = 0.05  # of all comparisons under a judge together
START = "the start"
ANCHOR = 1000.0


def arm_views(
    arms: Sequence[Arm], done: Results, judges: Sequence[str], seed: int, resamples: int
) -> list[dict[str, Any]]:
    """Return each arm's rows, cost and figures by judge.

    Args:
        arms: the arms.
        done: their results.
        judges: the judges.
        seed: seed of the resampling.
        resamples: number of resamples of the ratings.
    """
    ratings = {judge: _ratings(arms, done, judge, seed, resamples) for judge in judges}
    views = []
    for arm in arms:
        results = done[arm.name]
        good = _measured(results)
        view: dict[str, Any] = {
            "name": arm.name,
            "values": arm.values,
            "mode": arm.mode,
            "against": arm.against,
            "place": arm.place,
            "rows": [one["rows"] for one in results],
            "shared": _shared(results, done[arm.against]) if arm.against else None,
            "left_out": results[0]["left_out"],
            "given_up": [one["given_up"] for one in results if one["given_up"]],
            "trainings": len({one["training"] for one in good}),
            "seconds": [one["seconds"] for one in good],
            "answers": _mean_figures([one["answers"] for one in good]),
            "judges": {},
        }
        if good:
            view["judges"] = {
                judge: {**_gain(good, judge, seed), "elo": ratings[judge].get(arm.name)} for judge in judges
            }
        views.append(view)
    return views


def differences(
    arms: Sequence[Arm], done: Results, judges: Sequence[str], seed: int, looks: int
) -> list[dict[str, Any]]:
    """Return how arms differ from those that they are compared with, by judge.

    Each has the mean difference of scores with its interval over instructions, p and p after Holm's method for all
    comparisons under that judge and the looks at these instructions, the smallest difference that could have been
    told, and the number of instructions that would tell the one that was seen: both at the level that Holm's method
    and the looks ask of the smallest p.
    """
    pairs = [(arm, pair) for arm in arms if (pair := _both(arm, done)) is not None]
    level = LEVEL / max(1, len(pairs) * looks)
    rows: list[dict[str, Any]] = []
    for judge in judges:
        own = [_difference(arm, pair, judge, seed, level) for arm, pair in pairs]
        for row, p in zip(own, holm([row["p"] for row in own]), strict=True):
            row["p_holm"] = corrected(p, looks)
        rows += own
    return rows


def _both(arm: Arm, done: Results) -> Pair | None:
    """Return the results of an arm and of the one that it is compared with, under the seeds that both have."""
    if not arm.against:
        return None
    mine, theirs = ({one["seed"]: one for one in _measured(done[name])} for name in (arm.name, arm.against))
    seeds = sorted(mine.keys() & theirs.keys())
    return ([mine[n] for n in seeds], [theirs[n] for n in seeds]) if seeds else None


def _difference(arm: Arm, pair: Pair, judge: str, seed: int, level: float) -> dict[str, Any]:
    mine, theirs = pair
    one, other = by_instruction(mine, judge), by_instruction(theirs, judge)
    apart = [one[i] - other[i] for i in sorted(one.keys() & other.keys())]
    spread, found = deviation(apart), estimate(apart, seed)
    return {
        "arm": arm.name,
        "against": arm.against,
        "judge": judge,
        **_finite(found._asdict()),
        "p": paired_test(apart, seed),
        # Equal models differ by nothing, which says nothing of what could have been told.
        "detectable": detectable(spread, len(apart), level=level) if spread else None,
        "needed": needed(spread, found.mean, level=level),
        "by_seed": [
            _mean(a["gains"][judge].values()) - _mean(b["gains"][judge].values())
            for a, b in zip(mine, theirs, strict=True)
        ],
    }


def by_instruction(results: Sequence[Mapping[str, Any]], judge: str) -> dict[str, float]:
    """Return each instruction's gain, averaged over the seeds; instructions without a score in one are left out."""
    gains = [one["gains"][judge] for one in results]
    common = set(gains[0]).intersection(*gains[1:])
    return {i: fmean(by[i] for by in gains) for i in sorted(common)}


def _measured(results: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [one for one in results if not one["given_up"]]


def _gain(results: Sequence[Mapping[str, Any]], judge: str, seed: int) -> dict[str, Any]:
    own = list(by_instruction(results, judge).values())
    outcomes = [value for one in results for value in one["outcomes"][judge].values()]
    return {
        **_finite(estimate(own, seed)._asdict()),
        "detectable": detectable(deviation(own), len(own)) if own else None,
        "by_seed": [_mean(one["gains"][judge].values()) for one in results],
        "win_rate": _mean(outcomes),
    }


def _ratings(
    arms: Sequence[Arm], done: Results, judge: str, seed: int, resamples: int
) -> dict[str, dict[str, float | None]]:
    """Return the arms' Elo over the start's, all seeds of an arm as one contestant, resampled by instruction."""
    import pandas as pd

    won = {1.0: "model_a", 0.5: "tie", 0.0: "model_b"}
    rows = [
        (f"arm {arm.name}", START, won[outcome], instruction)
        for arm in arms
        for one in _measured(done[arm.name])
        for instruction, outcome in sorted(one["outcomes"][judge].items())
    ]
    if not rows:
        return {}
    table = pd.DataFrame(rows, columns=["model_a", "model_b", "winner", "prompt_id"])
    params = RatingParams(anchor=(START, ANCHOR), bootstrap=resamples, cluster="prompt", seed=seed)
    result = rate(table, params)
    rated = {row[0] for row in rows}
    found = {}
    for arm in arms:
        if f"arm {arm.name}" in rated:
            apart = result.difference(START, f"arm {arm.name}")
            found[arm.name] = _finite(
                {"difference": apart.difference, "lower": apart.lower, "upper": apart.upper}
            )
    return found


def _shared(results: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]) -> float:
    """Return the share of an arm's instructions that the other arm learns from too, averaged over the seeds."""
    shares = []
    for one, other in zip(results, others, strict=True):
        shares.append(len(set(one["ids"]) & set(other["ids"])) / max(1, len(set(one["ids"]))))
    return fmean(shares)


def _mean_figures(answers: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    names = [
        name for name, value in (answers[0] if answers else {}).items() if isinstance(value, int | float)
    ]
    return {name: fmean(one[name] for one in answers) for name in names}


def _finite(figures: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if isfinite(value) else None for name, value in figures.items()}


def _mean(values: Any) -> float:
    listed = list(values)
    return fmean(listed) if listed else 0.0
