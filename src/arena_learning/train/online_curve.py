"""What a training by a judge's word shows: a curve, and figures over it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

# TRL's names for what a curve calls otherwise. Whatever is in neither is left out: clocks, and figures of figures.
CURVE = {
    "loss": "loss",
    "learning_rate": "learning_rate",
    "grad_norm": "grad_norm",
    "reward": "reward",
    "reward_std": "reward_spread",
    "frac_reward_zero_std": "groups_alike",
    "kl": "kl",
    "entropy": "entropy",
    "completions/mean_length": "length",
    "completions/clipped_ratio": "unended",
    "unscored": "unscored",
    "monitor": "monitor",
    "monitor_agreement": "monitor_agreement",
    "step": "step",
    "epoch": "epoch",
}


def curve_entry(logged: Mapping[str, Any]) -> dict[str, float]:
    """Return what a curve shows of a trainer's log; a figure that no answer has given is left out."""
    return {CURVE[name]: value for name, value in logged.items() if name in CURVE and value is not None}


def online_figures(curve: Sequence[Mapping[str, float]], sampled: int) -> dict[str, float]:
    """Return counts over a curve, and how reward and monitor went: their trend is the rank correlation with the step.

    A point of the curve may stand for several steps, so counts are shares of what was ``sampled``.
    """
    figures = {"sampled": float(sampled)}
    for name, shown, sign in (("unended", "ended", -1), ("unscored", "unscored", 1)):
        share = _average(curve, name)
        if share is not None:
            figures[shown] = float(round(sampled * (share if sign > 0 else 1 - share)))
    for name in ("reward", "monitor"):
        values = [(point["step"], point[name]) for point in curve if name in point]
        if values:
            figures |= {f"{name}_first": values[0][1], f"{name}_last": values[-1][1]}
            figures[f"{name}_trend"] = _trend(values)
    for name in ("monitor_agreement", "groups_alike"):
        share = _average(curve, name)
        if share is not None:
            figures[name] = share
    return figures


def _average(curve: Sequence[Mapping[str, float]], name: str) -> float | None:
    values = [point[name] for point in curve if name in point]
    return math.fsum(values) / len(values) if values else None


def _trend(values: Sequence[tuple[float, float]]) -> float:
    from scipy.stats import spearmanr

    if len(values) < 3 or len({value for _, value in values}) == 1:
        return 0.0
    return float(spearmanr(*zip(*values, strict=True)).statistic)
