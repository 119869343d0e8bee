"""`arena ablate`: train and compare arms of a round that differ in one choice, on the validation set."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from arena_learning.cli.common import json_option, open_project
from arena_learning.cli.main import print_json

if TYPE_CHECKING:
    from arena_learning.sweep.ablation import Factor


@click.group("ablate")
def command() -> None:
    """Compare ways of making a round's rows: each arm is trained, answers the validation set, and is judged.

    A call that was ended goes on where it was. Reports and pages are in reports/ablations.
    """


def ablation_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument and the options that all ablations share."""
    options = (
        click.argument("round_name", metavar="ROUND"),
        click.option(
            "--arms", default="", help="Names separated by commas, the reference first.  [default: all]"
        ),
        click.option("--seeds", default=1, show_default=True, help="Trainings of each arm."),
        click.option(
            "--rows",
            default=0,
            help="Rows of every arm.  [default: as many as its battles give; strategies: as many as `battles` gives]",
        ),
        click.option(
            "--split",
            default="validation",
            show_default=True,
            help="Where arms are measured; the test set is refused.",
        ),
        click.option("--no-track", is_flag=True, help="Do not write to MLflow."),
        json_option,
    )
    for option in reversed(options):
        function = option(function)
    return function


@command.command("selection")
@ablation_options
def selection(**options: Any) -> None:
    """Compare strategies of selection (`dataset.strategy`), the same number of rows each.

    An arm is a strategy, such as random, or a strategy with an opponent's answers, such as random:expert.
    """
    _run("selection", **options)


@command.command("threshold")
@ablation_options
def threshold(**options: Any) -> None:
    """Compare thresholds K of the round, as --arms 0,1,2,3; the current one is always among them."""
    _run("threshold", **options)


@command.command("opponents")
@ablation_options
def opponents(**options: Any) -> None:
    """Compare sets of opponents, as --arms expert,expert+plain; each with the one before it."""
    _run("opponents", **options)


@command.command("mode")
@ablation_options
def mode(**options: Any) -> None:
    """Compare who battles whom: all, target, split, or one:NAME for the battles with one opponent."""
    _run("mode", **options)


def _run(
    factor: Factor,
    *,
    round_name: str,
    arms: str,
    seeds: int,
    rows: int,
    split: str,
    no_track: bool,
    as_json: bool,
) -> None:
    from arena_learning.params import check_round_name
    from arena_learning.sweep.ablation import ablation_text, log_ablation, run_ablation

    params, paths = open_project()
    check_round_name(round_name, params)
    report = run_ablation(
        factor,
        round_name,
        params,
        paths,
        arms=arms.split(","),
        seeds=seeds,
        rows=rows,
        split=split,
        log=(lambda report: None) if no_track else lambda report: log_ablation(paths, report),
    )
    if as_json:
        print_json(report)
    else:
        click.echo(ablation_text(report))
