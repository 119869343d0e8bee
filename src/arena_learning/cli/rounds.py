"""`arena rounds`: the rounds of params.yaml as a table, and their check."""

from __future__ import annotations

import click

from arena_learning.cli.common import json_option, open_project
from arena_learning.cli.main import print_json


@click.group("rounds")
def command() -> None:
    """List and check the rounds of params.yaml."""


@command.command("list")
@json_option
def list_rounds(as_json: bool) -> None:
    """Print the rounds in their order."""
    params, paths = open_project(check=False)
    rows = [
        {
            "round": name,
            **params.rounds[name].model_dump(),
            "trained": (paths.model(name) / "config.json").exists(),
        }
        for name in params.ordered_rounds
    ]
    if as_json:
        print_json(rows)
        return
    keys = (
        "index",
        "round",
        "method",
        "split",
        "target",
        "init",
        "threshold",
        "adds_to",
        "labels",
        "trained",
    )
    widths = [max(len(key), *(len(str(row[key])) for row in rows)) if rows else len(key) for key in keys]
    for line in [dict(zip(keys, keys, strict=True)), *rows]:
        click.echo(
            "  ".join(str(line[key]).ljust(width) for key, width in zip(keys, widths, strict=True)).rstrip()
        )


@command.command("check")
def check() -> None:
    """Check the chain of rounds: unknown names, cycles, a split used twice."""
    params, _ = open_project()
    click.echo(f"{len(params.rounds)} rounds, in order: {', '.join(params.ordered_rounds)}")
