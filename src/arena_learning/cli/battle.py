"""`arena battle`: a round's contestants answer its split."""

from __future__ import annotations

import click

from arena_learning.cli.common import fresh_option, json_option, retry_option, run_stage


@click.command("battle")
@click.argument("round_name", metavar="ROUND")
@fresh_option
@retry_option
@json_option
def command(round_name: str, fresh: bool, retry: bool, as_json: bool) -> None:
    """Let the target and its opponents answer ROUND's split."""
    from arena_learning.arena.battle import battle_round

    run_stage(
        "battle",
        round_name,
        lambda params, paths: battle_round(round_name, params, paths, fresh=fresh, retry=retry),
        as_json=as_json,
    )
