"""Plain text for a terminal: headings, wrapped paragraphs, and quotes that cannot pass for the report's own text."""

from __future__ import annotations

import textwrap

from arena_learning.core import Table, sanitized, table_text

# Every line of model text starts with this bar, so that it cannot look like a line of the report.
BAR = "│ "


class Page:
    """Text built line by line.

    Args:
        width: columns to wrap at.
        colour: whether headings are bold.
    """

    def __init__(self, width: int, colour: bool = False) -> None:
        self.width, self.colour = max(40, min(width, 120)), colour
        self.lines: list[str] = []

    def heading(self, text: str) -> None:
        """Add a heading after an empty line."""
        if self.lines:
            self.lines.append("")
        text = sanitized(text)
        self.lines.append(f"\x1b[1m{text}\x1b[0m" if self.colour else text)

    def line(self, text: str) -> None:
        """Add a paragraph of the report's own text, wrapped."""
        self.lines += textwrap.wrap(sanitized(text), self.width, subsequent_indent="  ") or [""]

    def quote(self, text: str) -> None:
        """Add text of a model or user: each line wrapped behind a bar, blank lines kept."""
        for line in (sanitized(text).strip("\n") or "(empty)").split("\n"):
            # Indentation is kept, for code; words longer than the line are broken.
            wrapped = textwrap.wrap(
                line.expandtabs(4), self.width - len(BAR), drop_whitespace=False, break_on_hyphens=False
            )
            self.lines += [f"{BAR}{part}".rstrip() for part in wrapped or [""]]

    def table(self, table: Table) -> None:
        """Add a table, not wrapped; each cell is one line."""
        rows = [[sanitized(" ".join(cell.split("\n"))) for cell in row] for row in table.rows]
        self.lines += table_text(table._replace(rows=rows)).split("\n")

    def __str__(self) -> str:
        return "\n".join(self.lines)
