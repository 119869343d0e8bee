"""The curve of an online training, and figures computed from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

# The figures of the curve by TRL's names. All others are left out, such as those that depend on the clock.
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
    """Return a point of the curve from a trainer's log, without figures that are missing in this step."""
    return {CURVE[name]: value for name, value in logged.items() if name in CURVE and value is not None}


def online_figures(curve: Sequence[Mapping[str, float]], sampled: int) -> dict[str, float]:
    """Return counts, and the first value, last value and trend of reward and monitor.

    A trend is the rank correlation of value and step. Counts are the curve's shares times ``sampled``, since a point of
    the curve may stand for several steps.
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
