"""`arena judge`: a round's games and battles."""

from __future__ import annotations

import click

from arena_learning.cli.common import fresh_option, json_option, retry_option, run_stage


@click.command("judge")
@click.argument("round_name", metavar="ROUND")
@fresh_option
@retry_option
@json_option
def command(round_name: str, fresh: bool, retry: bool, as_json: bool) -> None:
    """Judge ROUND's battles in both orders."""
    from arena_learning.judge.stage import judge_round

    run_stage(
        "judge",
        round_name,
        lambda params, paths: judge_round(round_name, params, paths, fresh=fresh, retry=retry),
        as_json=as_json,
    )
