"""A leaderboard's ratings by other rules, beside the plain ones: style held equal, and on people's scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from arena_learning.core import Table
from arena_learning.report.phrases import (
    elo,
    format_number,
    gain_sentence,
    interval_text,
    percent,
    plural,
    rank,
)

STYLE = "With style held equal"
CALIBRATED = "On the scale of human verdicts"
BY_PART = "By test set, side by side"
_LEFT = ("contestant",)


class OtherRule(NamedTuple):
    """Ratings of the same battles by another rule.

    Attributes:
        title: what was done.
        meaning: what the ratings mean, in a sentence or two.
        table: the ratings; None if there are none.
        notes: lines below the table.
    """

    title: str
    meaning: str
    table: Table | None
    notes: list[str]


def other_rules(board: Mapping[str, Any]) -> list[OtherRule]:
    """Return a judge's ratings by other rules, those that its leaderboard has."""
    plain = {r["model"]: r["rating"] for r in board["ratings"]}
    found = []
    if parts := board.get("by_part"):
        found.append(_by_part(parts, board))
    if style := board.get("style"):
        found.append(_style(style, plain))
    if calibrated := board.get("calibrated"):
        found.append(_calibrated(calibrated, plain))
    return found


def _by_part(parts: Mapping[str, Any], board: Mapping[str, Any]) -> OtherRule:
    """Return the ratings on each part of the test set in columns, the whole last: the paper's Table 4."""
    boards = {**parts, "mix": board}
    by_model = {name: {r["model"]: r for r in one["ratings"]} for name, one in boards.items()}
    head = ("contestant", *(column for name in boards for column in (name, "95 % interval")))
    rows = []
    for rating in board["ratings"]:
        own = [by_model[name].get(rating["model"]) for name in boards]
        cells = ((f"{r['rating']:.0f}", interval_text(r)) if r else ("", "") for r in own)
        rows.append((rating["model"], *(cell for pair in cells for cell in pair)))
    sizes = ", ".join(f"{name} {one['instructions']}" for name, one in boards.items())
    gains = [f"{name}: {gain_sentence(one['gain'])}" for name, one in boards.items() if one["gain"]]
    meaning = (
        "The same battles rated on each part of the test set alone: on instructions from all clusters, and on the most "
        "difficult ones. The parts are smaller than the whole, so their intervals are wider."
    )
    return OtherRule(BY_PART, meaning, Table(head, rows, _LEFT), [f"instructions: {sizes}", *gains])


def _style(style: Mapping[str, Any], plain: Mapping[str, float]) -> OtherRule:
    table = Table(
        ("#", "contestant", "rating", "95 % interval", "without"),
        [(*_rating(r), f"{plain[r['model']]:.0f}") for r in style["ratings"]],
        _LEFT,
    )
    worth = "; ".join(
        f"{e['name']} {elo(e['elo'])} ({elo(e['lower'])} to {elo(e['upper'])})" for e in style["effects"]
    )
    notes = [f"a standard deviation more than the other answer, in Elo: {worth}"]
    meaning = (
        "What the ratings would be if both answers of each battle were equally long, with as many headers, list items "
        "and bold passages. A large change says that this judge’s verdicts go with style; it does not say that the "
        "judge is wrong, as better answers may need more words."
    )
    return OtherRule(STYLE, meaning, table, _with_gain(style, notes))


def _calibrated(found: Mapping[str, Any], plain: Mapping[str, float]) -> OtherRule:
    meaning = (
        "What people’s verdicts on all these battles would give, estimated from theirs on some battles and the judge’s "
        "on all. It holds if the battles that people judged were chosen at random."
    )
    passed = [
        f"human verdicts passed over: {count}, {reason}" for reason, count in found["passed_over"].items()
    ]
    if "problem" in found:
        return OtherRule(CALIBRATED, meaning, None, [f"none: {found['problem']}", *passed])
    table = Table(
        ("#", "contestant", "rating", "95 % interval", "by the judge", "human verdicts"),
        [(*_rating(r), f"{plain[r['model']]:.0f}", str(r["verdicts"])) for r in found["ratings"]],
        _LEFT,
    )
    notes = [
        f"people judged {plural(found['verdicts'], 'battle')} on {plural(found['instructions'], 'instruction')}; "
        f"the judge agrees on {percent(found['agreement'])}; its verdicts weigh {format_number(found['power'], 2)}, "
        f"and all is as precise as {format_number(found['worth'], 2)} times as many human verdicts alone"
    ]
    if found["left_out"]:
        notes.append(f"too few human verdicts for a rating: {', '.join(found['left_out'])}")
    if found["unmatched"]:
        notes.append(f"human verdicts on battles that the judge did not decide: {found['unmatched']}")
    return OtherRule(CALIBRATED, meaning, table, _with_gain(found, [*notes, *passed]))


def _rating(rating: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return rank(rating), rating["model"], f"{rating['rating']:.0f}", interval_text(rating)


def _with_gain(found: Mapping[str, Any], notes: list[str]) -> list[str]:
    return [gain_sentence(found["gain"]), *notes] if found["gain"] else notes
