"""`arena leaderboard`: ratings, tables, figures and the report."""

from __future__ import annotations

import click

from arena_learning.cli.common import json_option, open_project
from arena_learning.cli.main import print_json
from arena_learning.core.stage_lock import running
from arena_learning.schema.rows import read_json


@click.command("leaderboard")
@click.option(
    "--print", "only_print", is_flag=True, help="Print the leaderboard that is there; write nothing."
)
@click.option("--markdown", is_flag=True, help="Print Markdown.")
@json_option
def command(only_print: bool, markdown: bool, as_json: bool) -> None:
    """Rate the contestants on the test set; write reports/ and print the leaderboard."""
    from arena_learning.leaderboard.ratings import make_leaderboard
    from arena_learning.report.monitors import monitors_markdown, monitors_text
    from arena_learning.report.tables import leaderboard_markdown, leaderboard_text

    params, paths = open_project()
    if only_print:
        table = read_json(paths.leaderboard)
    else:
        from arena_learning.report.figures import make_figures
        from arena_learning.report.html import make_report

        with running("leaderboard", paths):
            table = make_leaderboard(params, paths)
            make_figures(params, paths)
            make_report(params, paths)
    if as_json:
        print_json(table)
    else:
        forms = (leaderboard_markdown, monitors_markdown) if markdown else (leaderboard_text, monitors_text)
        click.echo("\n\n".join(filter(None, (form(table) for form in forms))))
