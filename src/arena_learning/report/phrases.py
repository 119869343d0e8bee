"""Formatted numbers and sentences about them, for tables, figures, page and terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ABSENT = "-"


def format_number(value: float | None, digits: int) -> str:
    """Return a number with ``digits`` decimals, or a dash for None."""
    return ABSENT if value is None else f"{value:.{digits}f}"


def percent(share: float | None) -> str:
    """Return a share from 0 to 1 in per cent, or a dash for None."""
    return ABSENT if share is None else f"{100 * share:.1f} %"


def elo(points: float) -> str:
    """Return rating points with their sign; below half a point with a decimal, because an interval may end there."""
    return f"{round(points):+d}" if round(points) else f"{points:+.1f}" if points else "0"


def score(value: float | None) -> str:
    """Return a judge's score, 1 to 10, with at most two decimals, or a dash for None."""
    return ABSENT if value is None else f"{round(value, 2):g}"


def plural(count: int, noun: str) -> str:
    """Return the count with its noun: ``1 battle``, ``2 battles``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def gain_sentence(gain: Mapping[str, Any]) -> str:
    """Return a sentence on how far one contestant is above another, and whether the interval supports it."""
    points = round(gain["difference"])
    where = f"{abs(points)} Elo {'above' if points > 0 else 'below'}" if points else "level with"
    bounds = f"95 % interval of the difference {elo(gain['lower'])} to {elo(gain['upper'])}"
    said = {
        "gain": "a gain",
        "fall": "a fall",
        "not separated": "not separated, as the interval holds 0",
    }.get(gain["verdict"], gain["verdict"])
    return f"{gain['to']} is {where} {gain['from']} ({bounds}): {said}."


def rank(rating: Mapping[str, Any]) -> str:
    """Return a contestant's rank, or the range of ranks that the differences to the others allow."""
    low, high = rating["rank_lower"], rating["rank_upper"]
    return str(low) if low == high else f"{low}-{high}"


def interval_text(rating: Mapping[str, Any]) -> str:
    """Return a rating's interval, or ``anchor`` for the contestant whose rating is fixed."""
    if rating["lower"] == rating["upper"]:
        return "anchor"
    return f"{rating['lower']:.0f} to {rating['upper']:.0f}"
