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
@click.option("--sample", type=click.IntRange(min=1), help="Audit on so many pairs, drawn by the seed.")
@click.option("--calibrate", is_flag=True, help="Fit the map of reward judges to these labels.")
@fresh_option
@json_option
def command(
    labelled: Path,
    names: tuple[str, ...],
    sample: int | None,
    calibrate: bool,
    fresh: bool,
    as_json: bool,
) -> None:
    """Hold judges against LABELLED, a JSONL file (or .gz) of pairs with a label.

    Rows: id, instruction or turns, response_a, response_b, label (model_a, model_b or tie), source, category. The
    judge `longer` always comes along: what reads the answers must beat what measures them. The figures stand in
    reports/audits, those of judges audited on the same pairs before too, and `arena track` shows them.
    """
    from arena_learning.judge.audit import audit_judges, audit_table

    params, paths = open_project()
    result = audit_judges(
        labelled, names, params, paths, fresh=fresh, sample=sample or 0, calibrate=calibrate
    )
    if as_json:
        print_json(result)
    else:
        click.echo(audit_table(result))
        for name, judge in result["judges"].items():
            if fitted := judge.get("calibration"):
                click.echo(
                    f"judges.{name}: center: {fitted['center']}, scale: {fitted['scale']} fit these labels"
                )
