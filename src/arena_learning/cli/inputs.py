"""`arena inputs`: digests of the files that params.yaml names, for DVC."""

from __future__ import annotations

import click

from arena_learning.cli.common import json_option, run_stage


@click.command("inputs")
@json_option
def command(as_json: bool) -> None:
    """Write digests of the files that params.yaml names, so that `dvc repro` sees when one is edited."""
    from arena_learning.project.inputs import write_inputs

    run_stage("inputs", None, write_inputs, as_json=as_json)
