"""`arena train`: a round's training."""

from __future__ import annotations

import click

from arena_learning.cli.common import json_option, run_stage


@click.command("train")
@click.argument("round_name", metavar="ROUND")
@json_option
def command(round_name: str, as_json: bool) -> None:
    """Train ROUND's model by its method."""
    from arena_learning.train.stage import train_named

    run_stage(
        "train", round_name, lambda params, paths: train_named(round_name, params, paths), as_json=as_json
    )
