"""`arena prepare`: the pool's filters and splits."""

from __future__ import annotations

import click

from arena_learning.cli.common import json_option, run_stage


@click.command("prepare")
@json_option
def command(as_json: bool) -> None:
    """Filter, deduplicate, decontaminate and split the instruction pool."""
    from arena_learning.pool.prepare import prepare

    run_stage("prepare", None, prepare, as_json=as_json)
