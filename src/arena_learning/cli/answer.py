"""`arena answer`: a contestant answers the test set."""

from __future__ import annotations

import click

from arena_learning.cli.common import fresh_option, json_option, retry_option, run_stage


@click.command("answer")
@click.argument("contestant")
@fresh_option
@retry_option
@json_option
def command(contestant: str, fresh: bool, retry: bool, as_json: bool) -> None:
    """Let CONTESTANT (base, an opponent or a round) answer the test set."""
    from arena_learning.arena.battle import answer_test

    run_stage(
        f"answer {contestant}",
        None,
        lambda params, paths: answer_test(contestant, params, paths, fresh=fresh, retry=retry),
        as_json=as_json,
    )
