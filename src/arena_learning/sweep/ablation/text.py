"""An ablation's tables as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from arena_learning.core import Table, table_text
from arena_learning.report import ablation_tables


def ablation_text(report: Mapping[str, Any]) -> str:
    """Return an ablation's report as text: the arms, then their differences."""
    tables = ablation_tables(report)
    parts = [tables.title, table_text(Table(*tables.arms), rule=False), ""]
    parts += [table_text(Table(*tables.differences), rule=False), ""] if tables.differences[1] else []
    return "\n".join([*parts, *tables.notes])
