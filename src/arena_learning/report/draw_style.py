"""Colours and fonts of the figures: Okabe and Ito's colours, which are distinct for all kinds of colour vision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#8C4F8F"
GREY, INK, SOFT, FAINT = "#8A8F98", "#1F2430", "#4A5160", "#E4E7EC"
BANDS = (GREEN, PURPLE, "#B8860B", "#56707F", "#7A5230")

# A matplotlib style sheet on the library's defaults, so that a user's own settings have no effect.
STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "grid.color": FAINT,
    "grid.linewidth": 0.8,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of ``width`` by ``height`` inches with automatic layout of its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)  # type: ignore[union-attr, call-arg]
    return figure


def title(axes: Axes, text: str, below: str = "") -> None:
    """Set a bold title to the left, with smaller lines below it."""
    # The lines below are an annotation instead of a part of the title, so that they can have their own size.
    lines = below.count("\n") + 1 if below else 0
    axes.set_title(text, loc="left", fontweight="bold", fontsize=12.5, pad=11 + 13.5 * lines)
    axes.annotate(
        below,
        (0, 1),
        xytext=(0, 9),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=9.5,
        color=SOFT,
        linespacing=1.3,
    )


def short_name(name: str, longest: int = 18) -> str:
    """Return a contestant's name; if it is too long for a label, its middle is left out."""
    if len(name) <= longest:
        return name
    head = (longest - 1) // 2
    return f"{name[:head]}…{name[-(longest - 1 - head) :]}"


def without_math(text: str) -> str:
    """Return ``text`` with dollar signs escaped, so that they start no formula."""
    return text.replace("$", r"\$")
