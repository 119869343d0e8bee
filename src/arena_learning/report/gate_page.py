"""The page beside the report that compares the last round's model with the champion: may it ship?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from arena_learning.core import Paths, write_text
from arena_learning.report.html import render_template
from arena_learning.report.phrases import ABSENT

_WORDS = {True: "holds", False: "fails", None: "does not apply"}


def make_gate_page(found: Mapping[str, Any], paths: Paths) -> Path:
    """Write the comparison of data/arena/gate.json as reports/gate.html, and return its path."""
    checks: Mapping[str, Mapping[str, Any]] = found.get("checks", {})
    rows = [
        {
            "name": name,
            "result": _WORDS[check["passed"]],
            "failed": check["passed"] is False,
            "value": _figure(check, "value"),
            "before": _figure(check, "before"),
            "limit": _figure(check, "limit"),
            "text": check["text"],
        }
        for name, check in checks.items()
    ]
    context = {"candidate": found.get("candidate", ""), "note": found.get("note", ""), "rows": rows}
    more = {"against": found.get("against", ""), "passes": found.get("passes", False)}
    write_text(paths.gate_page, render_template("gate.html.jinja", {**context, **more}))
    return paths.gate_page


def _figure(check: Mapping[str, Any], key: str) -> str:
    return f"{check[key]:.4g}" if key in check else ABSENT
