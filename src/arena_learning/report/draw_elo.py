"""Elo over rounds: the target's ratings with intervals, and the opponents as bands behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from arena_learning.report.draw_style import BANDS, BLUE, SOFT, new_figure, short_name, title
from arena_learning.report.phrases import elo, plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rating = Mapping[str, Any]

# Least height of the window; in a smaller one, nearly equal ratings would look far apart.
_LEAST_SPAN = 120.0
# Names are horizontal up to this many rounds, then slanted.
_STRAIGHT = 6


class _Window(NamedTuple):
    low: float
    high: float


def elo_over_rounds(judge: str, board: Mapping[str, Any], index: Mapping[str, int]) -> Figure:
    """Draw one judge's ratings of the base and the rounds.

    Args:
        judge: the judge's name.
        board: its leaderboard.
        index: each round's index, the x coordinate; the base is one before the first round.
    """
    ratings = {r["model"]: r for r in board["ratings"]}
    first = min(index.values(), default=1) - 1
    places = {"base": first, **index}
    chain = sorted((name for name in places if name in ratings), key=lambda name: places[name])
    others = [r for name, r in ratings.items() if name not in places]
    # Without a base or rounds, the others are all there is to show.
    window, shown, hidden = fit_window([ratings[name] for name in chain] or others, others)

    figure = new_figure(min(11.0, max(6.4, 1.05 * len(chain) + 3.4)), 4.6)
    axes = figure.add_subplot()
    axes.grid(axis="y")
    xs = [places[name] for name in chain]
    span = (min(xs) - 0.55, max(xs) + 0.55) if xs else (-1, 1)
    axes.set_xlim(*span)
    axes.set_ylim(*window)
    _bands(axes, shown)
    _points(axes, xs, [ratings[name] for name in chain])
    slanted = len(chain) > _STRAIGHT
    axes.set_xticks(
        xs,
        [short_name(name) for name in chain],
        rotation=35 if slanted else 0,
        ha="right" if slanted else "center",
    )
    axes.set_ylabel("rating (Elo)")
    axes.set_xlabel("round")
    _outside(axes, hidden, window)
    title(axes, "Elo over rounds", _below(judge, board))
    return figure


def fit_window(
    chain: Sequence[Rating], others: Sequence[Rating]
) -> tuple[_Window, list[Rating], list[Rating]]:
    """Return the range of ratings to show, the opponents that fit into it, and those that do not.

    An opponent fits if its interval at most doubles the height of the rounds' own intervals: a strong opponent would
    otherwise press the rounds into a flat line.
    """
    ends = [value for r in chain for value in (r["lower"], r["rating"], r["upper"])] or [1000.0]
    low, high = min(ends), max(ends)
    missing = max(0.0, _LEAST_SPAN - (high - low)) / 2
    low, high = low - missing, high + missing
    reach = (high - low) / 2
    shown = [r for r in others if r["lower"] >= low - reach and r["upper"] <= high + reach]
    low = min([low, *(r["lower"] for r in shown)])
    high = max([high, *(r["upper"] for r in shown)])
    room = 0.10 * (high - low)
    return _Window(low - 1.3 * room, high + 1.3 * room), shown, [r for r in others if r not in shown]


def _bands(axes: Axes, shown: Sequence[Rating]) -> None:
    from matplotlib.transforms import blended_transform_factory

    beside = blended_transform_factory(axes.transAxes, axes.transData)
    low, high = axes.get_ylim()
    heights = spread_labels([r["rating"] for r in shown], 0.055 * (high - low))
    for r, colour, height in zip(shown, _cycle(len(shown)), heights, strict=True):
        axes.axhspan(r["lower"], r["upper"], color=colour, alpha=0.13, linewidth=0)
        axes.axhline(r["rating"], color=colour, linewidth=1.2, linestyle=(0, (5, 3)))
        axes.text(
            1.01,
            height,
            f"{short_name(r['model'])} {r['rating']:.0f}",
            transform=beside,
            color=colour,
            va="center",
            fontsize=9,
        )


def spread_labels(values: Sequence[float], least: float) -> list[float]:
    """Return heights near ``values`` that are ``least`` apart, so that labels do not overlap."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    heights = list(values)
    for below, above in pairwise(order):
        heights[above] = max(heights[above], heights[below] + least)
    return heights


def _points(axes: Axes, xs: Sequence[int], chain: Sequence[Rating]) -> None:
    ys = [r["rating"] for r in chain]
    # Drawn from the bounds, because with few instructions an interval may not contain the point estimate.
    middles = [(r["lower"] + r["upper"]) / 2 for r in chain]
    halves = [(r["upper"] - r["lower"]) / 2 for r in chain]
    axes.plot(xs, ys, color=BLUE, linewidth=1.2, alpha=0.45, zorder=2)
    axes.errorbar(
        xs, middles, yerr=halves, fmt="none", ecolor=BLUE, elinewidth=2.2, capsize=5, capthick=2.2, zorder=3
    )
    fixed = [r["lower"] == r["upper"] for r in chain]
    axes.scatter(
        xs,
        ys,
        s=58,
        facecolors=["white" if f else BLUE for f in fixed],
        edgecolors=BLUE,
        linewidths=2,
        zorder=4,
    )
    for x, r, is_fixed in zip(xs, chain, fixed, strict=True):
        axes.annotate(
            f"{r['rating']:.0f}" + (" (anchor)" if is_fixed else ""),
            (x, r["rating"]),
            xytext=(0, -19) if is_fixed else (9, 5),
            textcoords="offset points",
            ha="center" if is_fixed else "left",
            fontsize=9.5,
            fontweight="bold",
            # A white edge keeps the number readable on the line or a band.
            bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
            zorder=5,
        )


def _outside(axes: Axes, hidden: Sequence[Rating], window: _Window) -> None:
    """Name the opponents whose ratings are outside the axes at the edge."""
    for sign, y, va in (("▲", 0.985, "top"), ("▼", 0.015, "bottom")):
        beyond = [r for r in hidden if (r["rating"] > (window.low + window.high) / 2) == (sign == "▲")]
        if beyond:
            lines = [
                f"{sign} {short_name(r['model'])} {r['rating']:.0f} ({r['lower']:.0f} to {r['upper']:.0f})"
                for r in beyond
            ]
            axes.text(0.012, y, "\n".join(lines), transform=axes.transAxes, va=va, fontsize=9, color=SOFT)


def _cycle(count: int) -> list[str]:
    return [BANDS[i % len(BANDS)] for i in range(count)]


def _below(judge: str, board: Mapping[str, Any]) -> str:
    count = plural(board["instructions"], "test instruction")
    text = f"judge '{judge}', {count}, bars and bands: 95 % intervals"
    gain = board["gain"]
    if gain:
        text += (
            f"\n{gain['to']} over {gain['from']}: {elo(gain['difference'])} "
            f"({elo(gain['lower'])} to {elo(gain['upper'])}), {gain['verdict']}"
        )
    return text
