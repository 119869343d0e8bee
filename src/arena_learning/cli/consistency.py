"""`arena consistency`: compare two arenas' ratings as the paper does."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("consistency")
@click.argument("bench", type=click.Path(path_type=Path))
@click.argument("ref", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(bench: Path, ref: Path, as_json: bool) -> None:
    """Compare the ratings in BENCH with those of the reference arena in REF.

    Both are CSV with model, rating, lower, upper (95 % intervals).
    """
    from arena_learning.rating import consistency
    from arena_learning.rating.report import render_consistency

    click.echo(render_consistency(consistency(bench, ref), as_json), nl=False)
