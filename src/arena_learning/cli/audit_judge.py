"""`arena audit-judge`: hold judges against labelled pairs."""

from __future__ import annotations

from pathlib import Path

import click

from arena_learning.cli.common import fresh_option, json_option, open_project
from arena_learning.cli.main import print_json


@click.command("audit-judge")
@click.argument("labelled", type=click.Path(path_type=Path))
@click.option(
    "--judge",
    "names",
    multiple=True,
    help="A judge of params.yaml (again for more).  [default: all that can]",
)
@fresh_option
@json_option
def command(labelled: Path, names: tuple[str, ...], fresh: bool, as_json: bool) -> None:
    """Hold judges against LABELLED, a JSONL file (or .gz) of pairs with a label.

    Rows: id, instruction or turns, response_a, response_b, label (model_a, model_b or tie), source, category. The
    judge `longer` always comes along: what reads the answers must beat what measures them.
    """
    from arena_learning.judge.audit_run import audit_judges, table

    params, paths = open_project()
    result = audit_judges(labelled, names, params, paths, fresh=fresh)
    if as_json:
        print_json(result)
    else:
        click.echo(table(result))
