"""`arena audit-judge`: compare judges with labelled pairs."""

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
    help="A judge of params.yaml; may be repeated.  [default: all that can score a labelled pair]",
)
@click.option(
    "--sample", type=click.IntRange(min=1), help="Number of pairs to draw; the seed is params.yaml's."
)
@click.option("--calibrate", is_flag=True, help="Fit center and scale of the reward judges to these labels.")
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
    """Compare judges with LABELLED, a JSONL file (or .gz) of pairs of answers with a label.

    Fields: id, instruction or turns, response_a, response_b, label (model_a, model_b or tie), source, category. The
    baseline `longer` is always included: a judge should agree with the labels more often than answers' lengths do. The
    figures are written to reports/audits, where earlier results on the same pairs stay; `arena track` shows them.
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
