"""`arena weights`: the base model's folder."""

from __future__ import annotations

import click

from arena_learning.cli.common import json_option, run_stage


@click.command("weights")
@json_option
def command(as_json: bool) -> None:
    """Make the base model's folder (fp32 safetensors, tokenizer) from weights.source."""
    from arena_learning.engines.base_model import make_weights

    run_stage("weights", None, make_weights, as_json=as_json)
