"""`arena dataset`: a round's training rows."""

from __future__ import annotations

import click

from arena_learning.cli.common import json_option, run_stage


@click.command("dataset")
@click.argument("round_name", metavar="ROUND")
@json_option
def command(round_name: str, as_json: bool) -> None:
    """Turn ROUND's battles into training rows with provenance."""
    from arena_learning.dataset.stage import make_dataset

    run_stage(
        "dataset", round_name, lambda params, paths: make_dataset(round_name, params, paths), as_json=as_json
    )
