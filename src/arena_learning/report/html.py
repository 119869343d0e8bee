"""The report: one self-contained HTML page that makes no network requests.

Models' texts appear only as escaped text. A Content-Security-Policy forbids every request, and every script and style
except the page's own two, which it names by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from arena_learning.core import Paths, read_json, write_text
from arena_learning.params import Params
from arena_learning.report import html_context
from arena_learning.report.figures import FigureFile, list_figures
from arena_learning.report.monitors import monitor_rows
from arena_learning.report.phrases import format_number, percent, plural
from arena_learning.report.pool_view import pool_view

_FOLDER = Path(__file__).parent


def make_report(params: Params, paths: Paths) -> Path:
    """Write the report from the files of the leaderboard and the rounds, and return its path.

    Figures and rounds that do not exist yet are left out. Equal files give equal bytes.

    Raises:
        ArenaError: the leaderboard or the test set's battles are missing.
    """
    leaderboard = read_json(paths.leaderboard)
    rounds = html_context.round_views(params, paths)
    monitored, monitors = monitor_rows(leaderboard)
    page = render_page(
        {
            "boards": html_context.board_views(leaderboard, params),
            "pool": pool_view(paths),
            "rounds": rounds,
            "monitored": monitored,
            "monitors": monitors,
            "health": html_context.health_rows(leaderboard, rounds),
            "figures": [_figure(file) for file in list_figures(paths, leaderboard)],
            "battles": html_context.battle_cards(params, paths, leaderboard["judge"]),
            "seed": params.seed,
            "places": [*(one["name"] for one in rounds), "test set"],
        }
    )
    write_text(paths.report, page)
    return paths.report


def render_page(context: dict[str, Any]) -> str:
    """Return the report's page for ``context``; every value in it is escaped."""
    return render_template("report.html.jinja", context)


def render_template(name: str, context: dict[str, Any]) -> str:
    """Return a page of this folder for ``context``; every value in it is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"shown": html_context.clipped_text, "percent": percent, "number": format_number}
    environment.globals |= {"plural": plural}
    # The page's own script and style contain no values: only they are not escaped.
    style, script = (
        environment.get_template(f"report_{part}.jinja").render() for part in ("style", "script")
    )
    return environment.get_template(name).render(
        style=Markup(style),
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
        **context,
    )


def _figure(file: FigureFile) -> dict[str, Any]:
    data = base64.b64encode(file.path.read_bytes()).decode("ascii")
    return {"title": file.title, "alt": file.alt, "uri": f"data:image/png;base64,{data}", "broad": file.broad}


def _hash(text: str) -> str:
    """Return the source expression that identifies an inline text in a Content-Security-Policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
