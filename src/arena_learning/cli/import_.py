"""`arena import`: read the files of other tools."""

from __future__ import annotations

from pathlib import Path

import click

from arena_learning.cli.common import json_option, metric_lines
from arena_learning.cli.main import print_json


@click.command("import")
@click.argument("kind", type=click.Choice(["alpaca-eval", "fastchat", "arena-hard", "jsonl", "parquet"]))
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="SRC...")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The folder to write.")
@click.option("--judge", default="", help="Import only this judge's verdicts.")
@click.option("--baseline", default="", help="arena-hard: name of the baseline, if the files do not give it.")
@click.option("--contestant", default="", help="Tables: the contestant who answered, if no column gives it.")
@click.option(
    "--column", "columns", multiple=True, metavar="THEIRS=OURS", help="Tables: rename a column (repeatable)."
)
@click.option(
    "--skip-bad", is_flag=True, help="Skip and count malformed rows.  [default: the first one is an error]"
)
@json_option
def command(
    kind: str,
    sources: tuple[Path, ...],
    out: Path,
    judge: str,
    baseline: str,
    contestant: str,
    columns: tuple[str, ...],
    skip_bad: bool,
    as_json: bool,
) -> None:
    """Convert SRC (files or folders of JSON, JSONL, CSV or Parquet) into instructions, answers, verdicts and battles.

    `jsonl` and `parquet` read any table of these: instructions (id; instruction or conversation); answers (with text
    and contestant); votes (model_a, model_b and winner, or winner_model_a, winner_model_b and winner_tie; both answers
    if given); preferences (chosen and rejected). Skipped rows are counted by reason, and unused columns are reported.
    """
    from arena_learning.importers import import_files

    pairs = [column.partition("=") for column in columns]
    if any(not equals for _, equals, _ in pairs):
        raise click.UsageError("--column wants THEIRS=OURS")
    found = import_files(
        kind,
        sources,
        out,
        judge=judge,
        baseline=baseline,
        contestant=contestant,
        columns={theirs: ours for theirs, _, ours in pairs},
        skip_bad=skip_bad,
    )
    if as_json:
        print_json(found)
        return
    click.echo(f"written to {out}")
    for line in metric_lines(found):
        click.echo(f"  {line}")
    for row in found.get("bad_rows", []):
        click.echo(f"  malformed: {row}")
