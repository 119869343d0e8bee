"""An ablation's figure: a panel a judge, the gain over the start with its interval, and each seed's mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arena_learning.core import atomic_write
from arena_learning.report import BLUE, GREY, STYLE, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_AXES = {"threshold": "threshold K", "opponents": "opponents in the battles"}


def draw_ablation(report: Mapping[str, Any], path: Path) -> Path:
    """Draw an ablation as PNG and return the file.

    Arms that stand on a line of numbers (thresholds, opponents) are drawn over it as in the paper's figures 9 and 10,
    others below each other.
    """
    from matplotlib import style

    arms = [arm for arm in report["arms"] if arm["judges"]]
    judges = report["judges"]
    numbered = report["factor"] in _AXES
    height = 3.4 if numbered else 1.5 + 0.42 * len(arms)
    with style.context(["default", STYLE]):
        figure = new_figure(1.6 + 3.1 * len(judges), height)
        panels = figure.subplots(1, len(judges), squeeze=False, sharey=True)[0]
        for axes, judge in zip(panels, judges, strict=True):
            (_over_numbers if numbered else _below_each_other)(axes, arms, judge, report)
            axes.set_title(f"by {judge}", loc="left", fontsize=10.5, fontweight="bold")
        with atomic_write(path) as temporary:
            figure.savefig(temporary, format="png", dpi=130, metadata={"Software": None})
    return path


def _below_each_other(
    axes: Axes, arms: Sequence[Mapping[str, Any]], judge: str, report: Mapping[str, Any]
) -> None:
    axes.axvline(0, color=GREY, linewidth=0.8)
    for height, arm in enumerate(reversed(arms)):
        own = arm["judges"][judge]
        low, high = _ends(own)
        axes.plot([low, high], [height, height], color=BLUE, linewidth=2)
        axes.plot(own["by_seed"], [height] * len(own["by_seed"]), "|", color=GREY, markersize=9)
        axes.plot(own["mean"], height, "o", color=BLUE)
    axes.set_yticks(range(len(arms)), [arm["name"] for arm in reversed(arms)])
    axes.set_ylim(-0.6, len(arms) - 0.4)
    axes.set_xlabel(f"gain over {report['start']}")


def _over_numbers(
    axes: Axes, arms: Sequence[Mapping[str, Any]], judge: str, report: Mapping[str, Any]
) -> None:
    axes.axhline(0, color=GREY, linewidth=0.8)
    placed = ((arm["place"], arm["judges"][judge], arm["rows"]) for arm in arms if arm["place"] is not None)
    points = sorted(placed, key=lambda point: point[0])  # several arms may have as many opponents
    for x, own, rows in points:
        low, high = _ends(own)
        axes.plot([x, x], [low, high], color=BLUE, linewidth=2)
        axes.plot([x] * len(own["by_seed"]), own["by_seed"], "_", color=GREY, markersize=9)
        mean_rows = round(sum(rows) / len(rows))
        axes.annotate(
            f"{mean_rows} rows",
            (x, high),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            fontsize=7.5,
        )
    xs, means = [x for x, *_ in points], [own["mean"] for _, own, _ in points]
    if len(set(xs)) == len(xs):
        axes.plot(xs, means, "-", color=BLUE, linewidth=1, alpha=0.5)
    axes.plot(xs, means, "o", color=BLUE)
    axes.set_xlabel(_AXES[report["factor"]])
    axes.set_xticks(sorted(set(xs)))
    axes.margins(y=0.15)
    if axes.get_subplotspec().is_first_col():  # type: ignore[union-attr]
        axes.set_ylabel(f"gain over {report['start']}")


def _ends(own: Mapping[str, Any]) -> tuple[float, float]:
    return (
        own["mean"] if own["lower"] is None else own["lower"],
        own["mean"] if own["upper"] is None else own["upper"],
    )
