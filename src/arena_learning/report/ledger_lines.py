"""The ledger in tables for a terminal."""

from __future__ import annotations

from arena_learning.core import Table, number_text
from arena_learning.leaderboard import Document
from arena_learning.report.terminal import Page

_HEAD = ("made", "requests", "tokens in", "tokens out", "seconds", "money")


def ledger_text(view: Document, page: Page) -> str:
    """Return the ledger in tables: each round and stage by contestant or judge, then sums."""
    page.heading("Spent, by round and stage")
    head = ("round", "stage", "who", *_HEAD)
    total = ("all", "", "", *_cells(view["total"]))
    page.table(Table(head, [*map(_line, view["rows"]), total], left=head[:3]))
    for title, key in (
        ("By round", "by_round"),
        ("By contestant", "by_contestant"),
        ("By judge", "by_judge"),
    ):
        if len(view[key]) > 1:
            page.heading(title)
            page.table(Table((title[3:], *_HEAD), [(name, *_cells(one)) for name, one in view[key].items()]))
    if view["files"]:
        page.heading(
            "Before the ledger began: the present results, by the stages' files; not in the sums above"
        )
        page.table(Table(head, [*map(_line, view["files"])], left=head[:3]))
    for name, one in view["earlier"].items():
        page.line(
            f"In the store from before the ledger began: {one['made']:,} {name}, {one['seconds']:,.0f} s, "
            f"{_count(one['tokens_in'])} tokens in, {_count(one['tokens_out'])} out; what they cost is unknown"
        )
    page.line(
        f"All runs of stages together: {view['stage_seconds'] / 3600:.2f} hours. An unknown figure is a `?`."
    )
    for what in ("money", "tokens"):
        if left := view["budget"][what]:
            page.line(
                f"budget.{what}: {number_text(left['spent'])} of {number_text(left['most'])} spent, "
                f"{number_text(left['left'])} left"
            )
    return str(page)


def _line(row: Document) -> tuple[str, ...]:
    served = f" ({row['model']}{', batch' if row['batch'] else ''})" if row["model"] else ""
    return (row["round"] or "-", row["stage"], f"{row['name']}{served}", *_cells(row))


def _cells(row: Document) -> tuple[str, ...]:
    money = row["money"]
    return (
        f"{row['made']:,}",
        _count(row["requests"]),
        _count(row["tokens_in"]),
        _count(row["tokens_out"]),
        f"{row['seconds']:,.1f}",
        "?" if money is None else f"{money:,.4f}" if money else "-",
    )


def _count(number: float | None) -> str:
    return "?" if number is None else f"{number:,.0f}"
