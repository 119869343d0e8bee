"""Win rates between all contestants, scores by category before and after, margins of each round's battles."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, NamedTuple

from arena_learning.params import Params
from arena_learning.report.draw_style import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    SOFT,
    new_figure,
    short_name,
    title,
    without_math,
)
from arena_learning.report.phrases import plural
from arena_learning.schema import BattleResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = {"lost": ORANGE, "tie": GREY, "won": BLUE}

# Bins of half a point, one of them around 0, from -9 to 9.
_EDGES = [0.5 * i - 9.25 for i in range(38)]


class Change(NamedTuple):
    """A category's mean score before and after, over ``instructions`` instructions.

    ``reach`` is half the width of the difference's 95 % interval (by instruction, Student's t); None for fewer than two
    instructions.
    """

    category: str
    before: float
    after: float
    reach: float | None
    instructions: int


def win_rates(judge: str, board: Mapping[str, Any]) -> Figure:
    """Draw the matrix of win rates, contestants sorted by rating, a tie as half a win."""
    import numpy as np
    from matplotlib.colors import LinearSegmentedColormap

    names = [r["model"] for r in board["ratings"]]
    rates = np.array([[board["win_rates"].get(row, {}).get(col, math.nan) for col in names] for row in names])
    size = max(3.6, 0.62 * len(names) + 1.9)
    figure = new_figure(max(size + 1.2, 6.0), size)
    axes = figure.add_subplot()
    colours = LinearSegmentedColormap.from_list("lost-won", [ORANGE, "#FFFFFF", BLUE])
    image = axes.imshow(
        np.ma.masked_invalid(rates), cmap=colours.with_extremes(bad="#F0F1F4"), vmin=0, vmax=1
    )
    labels = [short_name(name) for name in names]
    axes.set_xticks(range(len(names)), labels, rotation=35, ha="right")
    axes.set_yticks(range(len(names)), labels)
    axes.spines[:].set_visible(False)
    for (i, j), rate in np.ndenumerate(rates):
        if not math.isnan(rate):
            ink = "white" if abs(rate - 0.5) > 0.36 else INK
            axes.text(j, i, f"{100 * rate:.0f}", ha="center", va="center", color=ink, fontsize=9.5)
    bar = figure.colorbar(image, ax=axes, shrink=0.75, ticks=[0, 0.25, 0.5, 0.75, 1])
    bar.ax.set_yticklabels(["0", "25", "50", "75", "100"])
    bar.ax.spines[:].set_visible(False)
    count = plural(board["instructions"], "test instruction")
    title(axes, "Win rate in %: row against column", f"judge '{judge}', {count}, ties count half")
    return figure


def categories(judge: str, results: Sequence[BattleResult], before: str, after: str) -> Figure:
    """Draw two contestants' mean scores by category, and the interval of the difference."""
    changes = category_changes(results, before, after)
    figure = new_figure(7.6, 1.9 + 0.42 * max(len(changes), 2))
    axes = figure.add_subplot()
    axes.grid(axis="x")
    for y, change in enumerate(reversed(changes)):
        colour = BLUE if change.after >= change.before else ORANGE
        if change.reach is not None:
            ends = [change.after - change.reach, change.after + change.reach]
            axes.plot(ends, [y, y], color=colour, alpha=0.28, linewidth=9, solid_capstyle="butt", zorder=1)
        axes.plot([change.before, change.after], [y, y], color=colour, linewidth=2, zorder=2)
        axes.scatter([change.before], [y], s=52, facecolors="white", edgecolors=INK, linewidths=1.6, zorder=3)
        axes.scatter([change.after], [y], s=58, color=colour, zorder=4)
        axes.annotate(
            _difference(change),
            (1.01, y),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=9,
            color=INK,
        )
    axes.set_yticks(range(len(changes)), [without_math(c.category) for c in reversed(changes)])
    axes.set_ylim(-0.6, len(changes) - 0.4)
    _score_range(axes, changes)
    axes.set_xlabel("mean score, 1 to 10")
    title(
        axes,
        f"Scores by category: {short_name(before)} (open) and {short_name(after)} (filled)",
        f"judge '{judge}', {plural(sum(c.instructions for c in changes), 'test instruction')}\n"
        "shaded: 95 % interval of the difference, drawn around the filled dot",
    )
    return figure


def category_changes(results: Sequence[BattleResult], before: str, after: str) -> list[Change]:
    """Return each category's change between two contestants, where both were scored on an instruction."""
    scores: dict[str, dict[str, dict[str, list[float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for battle in results:
        if battle.score_a is not None and battle.score_b is not None:
            scores[battle.category][battle.instruction_id][battle.a].append(battle.score_a)
            scores[battle.category][battle.instruction_id][battle.b].append(battle.score_b)
    changes = []
    for category, instructions in sorted(scores.items()):
        pairs = [
            (fmean(by[before]), fmean(by[after])) for by in instructions.values() if by[before] and by[after]
        ]
        if pairs:
            first, second = zip(*pairs, strict=True)
            reach = _reach([y - x for x, y in pairs])
            changes.append(Change(category, fmean(first), fmean(second), reach, len(pairs)))
    return changes


def gaps(rounds: Mapping[str, Sequence[BattleResult]], params: Params) -> Figure:
    """Draw for each round by how much its target won or lost its battles."""
    columns = min(3, max(1, len(rounds)))
    lines = max(1, math.ceil(len(rounds) / columns))
    height = 0.9 + 2.9 * lines
    figure = new_figure(max(6.4, 3.5 * columns), height)
    grid = figure.subplots(lines, columns, sharex=True, squeeze=False)
    for axes in grid.flat[len(rounds) :]:
        axes.set_visible(False)
    for axes, (name, results) in zip(grid.flat, rounds.items(), strict=False):
        _margins(axes, name, results, params)
    for i, axes in enumerate(grid.flat[: len(rounds)]):
        if i + columns >= len(rounds):
            axes.set_xlabel("target's score less its opponent's")
            axes.tick_params(labelbottom=True)
        if i % columns == 0:
            axes.set_ylabel("battles")
    figure.suptitle(
        f"How each round's target fared in the battles it learnt from, by the judge '{params.judge.name}'\n",
        x=0.012,
        ha="left",
        fontweight="bold",
        fontsize=12.5,
    )
    figure.text(
        0.012,
        0.995 - 0.33 / height,
        "dashed: the threshold K that a gap must reach before a battle is learnt from",
        va="top",
        fontsize=9.5,
        color=SOFT,
    )
    return figure


def _margins(axes: Axes, name: str, results: Sequence[BattleResult], params: Params) -> None:
    from matplotlib.ticker import MaxNLocator

    this = params.rounds[name]
    axes.set_xlim(-9.5, 9.5)
    axes.set_xticks([-9, -6, -3, 0, 3, 6, 9])
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.grid(axis="y")
    if not results:
        axes.set_yticks([])
        axes.text(0, 0.5, "no battles:\nlearns from recorded answers", ha="center", va="center", color=GREY)
        title(axes, short_name(name))
        return
    margins: dict[str, list[float]] = {outcome: [] for outcome in _COLOURS}
    for one in results:
        margin = one.margin(this.target)
        if margin is not None:
            margins[one.outcome(this.target)].append(margin)
    axes.hist(list(margins.values()), bins=_EDGES, stacked=True, color=list(_COLOURS.values()), rwidth=0.9)
    scored = max(1, sum(len(m) for m in margins.values()))
    shares = "   ".join(f"{outcome} {100 * len(m) / scored:.0f} %" for outcome, m in margins.items())
    # A battle is learnt from beyond K on the lost side (sft) or on both; rft holds K to its samples.
    lines = {"sft": (-this.threshold,), "rft": ()}.get(this.method, (-this.threshold, this.threshold))
    for line in lines:
        axes.axvline(line, color=INK, linewidth=1.1, linestyle=(0, (4, 3)))
    count = len({one.instruction_id for one in results})
    title(
        axes,
        short_name(name),
        f"target {short_name(this.target)}, K = {this.threshold:g}, {plural(count, 'instruction')}\n{shares}",
    )


def _reach(differences: Sequence[float]) -> float | None:
    from arena_learning.rating import t_quantile

    if len(differences) < 2:
        return None
    return t_quantile(0.975, len(differences) - 1) * stdev(differences) / math.sqrt(len(differences))


def _difference(change: Change) -> str:
    reach = "" if change.reach is None else f" ± {change.reach:.1f}"
    return f"{change.after - change.before:+.1f}{reach}  (n = {change.instructions})"


def _score_range(axes: Axes, changes: Sequence[Change]) -> None:
    values = [v for c in changes for v in (c.before, c.after - (c.reach or 0), c.after + (c.reach or 0))] or [
        1,
        10,
    ]
    low, high = max(0.7, min(values) - 0.4), min(10.3, max(values) + 0.4)
    axes.set_xlim(low, high)
