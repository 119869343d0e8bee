"""The leaderboard's monitors as a table: one row for each monitor, one column for each round."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from arena_learning.core import Table, table_markdown, table_text
from arena_learning.leaderboard import AGREEMENT
from arena_learning.report.phrases import format_number, percent

TITLE = "Monitors by round"
TEST, BATTLES, ROWS, TRAINING = "test answers", "its battles", "its rows", "its training"


class Monitor(NamedTuple):
    """How a monitor is shown: its title, what it measures, its number format, and when to look closer."""

    title: str
    of: str
    form: Callable[[float | None], str]
    closer: str


class MonitorRow(NamedTuple):
    """A monitor over all rounds as text; a cell is empty if the monitor does not apply."""

    title: str
    of: str
    cells: list[str]
    closer: str


def _signed(value: float | None) -> str:
    return format_number(value, 2) if value is None or value < 0 else f"+{value:.2f}"


SHOWN = {
    "mean_words": Monitor("words", TEST, lambda v: format_number(v, 0), "they grow with the rating"),
    "cut_off_rate": Monitor("cut off", TEST, percent, "it rises: the model forgets to stop"),
    "repetition": Monitor("repetition", TEST, lambda v: format_number(v, 3), "it rises: the training degenerates"),
    "longer_wins": Monitor("longer answer wins", BATTLES, percent, "far from 50 %: the judge rewards length"),
    "flip_rate": Monitor("flips between the orders", BATTLES, percent, "high: position decides"),
    "tie_rate": Monitor("ties", BATTLES, percent, "high: the judge is too coarse for K"),
    "unscored_rate": Monitor("unscored", BATTLES, percent, "above a few per cent: the judge's prompt fails"),
    "members_against": Monitor("jury members against", BATTLES, percent, "high: the members disagree"),
    "members_missing": Monitor("jury members unscored", BATTLES, percent, "it rises: a member fails"),
    "members_spread": Monitor("jury members apart", BATTLES, lambda v: format_number(v, 1), "it rises: they part"),
    "target_chosen_share": Monitor("target's own answer chosen", ROWS, percent, "near 100 %: little is left to learn"),
    "reward_model_accuracy": Monitor("reward model right", TRAINING, percent, "near 50 %: PPO has no good direction"),
    "kl": Monitor("KL, last", TRAINING, lambda v: format_number(v, 2), "it runs away: raise train.ppo.kl"),
    "kl_max": Monitor("KL, highest", TRAINING, lambda v: format_number(v, 2), "far above the last: it was unstable"),
    "reward": Monitor("reward, last", TRAINING, _signed, ""),
    "reward_change": Monitor("reward, change", TRAINING, _signed, "it rises while the rating falls"),
    "monitor_change": Monitor("monitor's score, change", TRAINING, _signed, "it falls while the reward rises"),
    "monitor_agreement": Monitor("monitor ranks the same", TRAINING, percent, "near 50 %: the reward means little"),
}  # fmt: skip


def monitor_rows(leaderboard: Mapping[str, Any]) -> tuple[list[str], list[MonitorRow]]:
    """Return the column names, and the rows of all monitors that apply to at least one of them.

    Both are empty for a leaderboard that was written without monitors.
    """
    found: list[Mapping[str, Any]] = leaderboard.get("monitors", [])
    rows = []
    for key, (title, of, form, closer) in _forms(leaderboard["judge"], found).items():
        values: list[float | None] = [one.get(key) for one in found]
        if any(value is not None for value in values):
            rows.append(MonitorRow(title, of, ["" if v is None else form(v) for v in values], closer))
    return [one["model"] for one in found], rows


def monitors_text(leaderboard: Mapping[str, Any]) -> str:
    """Return the table for a terminal under its title, or nothing."""
    table = _table(leaderboard)
    return f"{TITLE}\n\n{table_text(table)}" if table.rows else ""


def monitors_markdown(leaderboard: Mapping[str, Any]) -> str:
    """Return the table as Markdown under a heading of the third level, or nothing."""
    table = _table(leaderboard)
    return f"### {TITLE}\n\n{table_markdown(table)}" if table.rows else ""


def _table(leaderboard: Mapping[str, Any]) -> Table:
    names, rows = monitor_rows(leaderboard)
    return Table(
        ("monitor", "of", *names), [(row.title, row.of, *row.cells) for row in rows], ("monitor", "of")
    )


def _forms(first: str, found: Iterable[Mapping[str, Any]]) -> dict[str, Monitor]:
    """Return each monitor's form, in order; agreements with further judges follow the test answers' monitors."""
    judges = dict.fromkeys(
        key.removeprefix(AGREEMENT) for one in found for key in one if key.startswith(AGREEMENT)
    )
    closer = f"it falls over the rounds: {first} is being gamed"
    agree = {f"{AGREEMENT}{j}": Monitor(f"{first} and {j} agree", TEST, percent, closer) for j in judges}
    answers = {key: shown for key, shown in SHOWN.items() if shown.of == TEST}
    return {**answers, **agree, **SHOWN}
