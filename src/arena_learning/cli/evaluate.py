"""`arena evaluate`: all pairs on the test set, or a look at the validation set."""

from __future__ import annotations

import click

from arena_learning.cli.common import (
    flat,
    fresh_option,
    json_option,
    open_project,
    retry_option,
    run_stage,
)
from arena_learning.cli.main import print_json


@click.command("evaluate")
@click.option(
    "--split",
    default="test",
    show_default=True,
    help="`test` is the pipeline's stage; any other split is answered and judged without writing an out.",
)
@click.option("--contestants", default="", help="Only these, by comma (not for the test set).")
@fresh_option
@retry_option
@json_option
def command(split: str, contestants: str, fresh: bool, retry: bool, as_json: bool) -> None:
    """Let all contestants play all on held-out instructions under every judge of `evaluate.judges`."""
    from arena_learning.leaderboard.evaluate import evaluate_test

    if split == "test":
        run_stage(
            "evaluate",
            None,
            lambda params, paths: evaluate_test(params, paths, fresh=fresh, retry=retry),
            as_json=as_json,
        )
        return
    from arena_learning.leaderboard.compare import compare_split

    params, paths = open_project()
    names = [name.strip() for name in contestants.split(",") if name.strip()] or None
    table = compare_split(split, names, params, paths, fresh=fresh)
    if as_json:
        print_json(table)
        return
    for line in flat(table):
        click.echo(line)
