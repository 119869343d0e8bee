"""The leaderboard's JSON as text for a terminal, and as Markdown for a README."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from arena_learning.core import Table, sanitized, table_markdown, table_text
from arena_learning.report.other_ratings import other_rules
from arena_learning.report.phrases import (
    elo,
    format_number,
    gain_sentence,
    interval_text,
    percent,
    plural,
    rank,
)

Board = Mapping[str, Any]

_HEAD = (
    "#",
    "contestant",
    "rating",
    "95 % interval",
    "battles",
    "W/T/L",
    "mean words",
    "cut off",
    "repetition",
)
_LEFT = ("contestant", "from", "to", "verdict")


def leaderboard_text(leaderboard: Mapping[str, Any]) -> str:
    """Return all leaderboards of reports/leaderboard.json as fixed-width text, the first judge's first."""
    return "\n\n".join(
        board_text(name, board, leaderboard["answers"]) for name, board in ordered_boards(leaderboard)
    )


def leaderboard_markdown(leaderboard: Mapping[str, Any]) -> str:
    """Return all leaderboards as Markdown, each under a heading of the third level."""
    return "\n\n".join(
        board_markdown(name, board, leaderboard["answers"]) for name, board in ordered_boards(leaderboard)
    )


def ordered_boards(leaderboard: Mapping[str, Any]) -> list[tuple[str, Board]]:
    """Return the leaderboards by judge: the first judge's, then the others by name."""
    boards: dict[str, Board] = leaderboard["boards"]
    return sorted(boards.items(), key=lambda item: (item[0] != leaderboard["judge"], item[0]))


def board_text(judge: str, board: Board, answers: Mapping[str, Any]) -> str:
    """Return one judge's leaderboard as fixed-width text."""
    parts = [_title(judge, board), table_text(ratings_table(board, answers))]
    if board["gain"]:
        parts.append(gain_sentence(board["gain"]))
    if len(board["steps"]) > 1:
        parts.append(table_text(steps_table(board)))
    for rule in other_rules(board):
        parts += [rule.title, table_text(rule.table) if rule.table else "", "\n".join(rule.notes)]
    parts.append("\n".join(_notes(board)))
    return "\n\n".join(part for part in parts if part)


def board_markdown(judge: str, board: Board, answers: Mapping[str, Any]) -> str:
    """Return one judge's leaderboard as Markdown."""
    parts = [f"### {_title(judge, board)}", table_markdown(ratings_table(board, answers))]
    if board["gain"]:
        parts.append(f"**{gain_sentence(board['gain'])}**")
    if len(board["steps"]) > 1:
        parts.append(table_markdown(steps_table(board)))
    for rule in other_rules(board):
        table = table_markdown(rule.table) if rule.table else ""
        parts += [f"**{rule.title}**", table, "\n".join(f"- {line}" for line in rule.notes)]
    parts.append("\n".join(f"- {line}" for line in _notes(board)))
    return "\n\n".join(part for part in parts if part)


def ratings_table(board: Board, answers: Mapping[str, Any]) -> Table:
    """Return the ratings, highest first; a rank is a range if the intervals allow several."""
    rows = []
    for r in board["ratings"]:
        said = answers.get(r["model"], {})
        rows.append(
            (
                rank(r),
                r["model"],
                f"{r['rating']:.0f}",
                interval_text(r),
                str(r["battles"]),
                f"{r['wins']}/{r['ties']}/{r['losses']}",
                format_number(said.get("mean_words"), 0),
                format_number(said.get("cut_off"), 0),
                format_number(said.get("repetition"), 3),
            )
        )
    return Table(_HEAD, rows, _LEFT)


def steps_table(board: Board) -> Table:
    """Return the rating differences from each round to the next, with what their intervals show."""
    rows = [
        (s["from"], s["to"], elo(s["difference"]), f"{elo(s['lower'])} to {elo(s['upper'])}", s["verdict"])
        for s in board["steps"]
    ]
    return Table(("from", "to", "Elo", "95 % interval", "verdict"), rows, _LEFT)


def _title(judge: str, board: Board) -> str:
    instructions = plural(board["instructions"], "instruction")
    return f"Leaderboard by the judge '{judge}' on {instructions}"


def _notes(board: Board) -> list[str]:
    """Return the judge's diagnostics, the reasons for unscored battles, and the rating's diagnosis.

    A reason may quote what a model or an endpoint said.
    """
    health = board["health"]
    lines = [
        f"judge: {plural(health['battles'], 'battle')}, ties {percent(health['tie_rate'])}, "
        f"flips between the orders {percent(health['flip_rate'])}, "
        f"unscored {percent(health['unscored_rate'])}"
    ]
    if health.get("members_missing") is not None:
        lines.append(
            f"jury: {percent(health['members_against'])} of the members' votes against the verdict, "
            f"{percent(health['members_missing'])} of them without a score, "
            f"scores {format_number(health['members_spread'], 1)} apart"
        )
    reasons = health.get("unscored_reasons") or {}
    if reasons:
        listed = "; ".join(f"{sanitized(reason)} ({count})" for reason, count in reasons.items())
        lines.append(f"unscored games: {listed}")
    return lines + [f"note: {finding}" for finding in board["diagnosis"]]
