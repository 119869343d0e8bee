"""Tables as text: the one printer of all rooms, in columns for a terminal and as Markdown for a page."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple


class Table(NamedTuple):
    """Column heads and rows of text.

    Attributes:
        head: a title for each column.
        rows: as many cells in each.
        left: titles of the columns that stand to the left, by default the first; the others stand to the right.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: Collection[str] | None = None


def table_text(table: Table, *, rule: bool = True) -> str:
    """Return a table in columns of fixed width, with a rule below the head unless ``rule`` is False.

    >>> print(table_text(Table(("model", "wins"), [("base", "7"), ("sft-i1", "12")])))
    model   wins
    ------  ----
    base       7
    sft-i1    12
    """
    lines = [table.head, *table.rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.head))]
    left = _left(table)

    def line_of(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if head in left else cell.rjust(width)
            for cell, width, head in zip(cells, widths, table.head, strict=True)
        ]
        return "  ".join(padded).rstrip()

    below = ["  ".join("-" * width for width in widths)] * rule
    return "\n".join([line_of(table.head), *below, *(line_of(row) for row in table.rows)])


def table_markdown(table: Table) -> str:
    """Return a table in Markdown; a bar in a cell is escaped."""
    left = _left(table)
    lines = [table.head, [":--" if head in left else "--:" for head in table.head], *table.rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _left(table: Table) -> Collection[str]:
    return table.head[:1] if table.left is None else table.left


def number_text(value: float) -> str:
    """Return a number with commas: in full from 100,000 on, below with up to six digits.

    Example:
        >>> number_text(50_000_000), number_text(19.99871), number_text(0.000012345678)
        ('50,000,000', '19.9987', '1.23457e-05')
    """
    return f"{value:,.0f}" if abs(value) >= 100_000 else f"{value:,.6g}"
