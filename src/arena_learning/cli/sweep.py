"""`arena sweep`: which parameters are best, by Optuna, shown in MLflow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from arena_learning.cli.common import json_option, open_project
from arena_learning.cli.main import print_json


@click.group("sweep")
def command() -> None:
    """Sweep judges' prompts or the selection of training data; apply the winner."""


def sweep_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that both sweeps share."""
    for option in reversed(
        [
            click.option(
                "--trials",
                default=8,
                show_default=True,
                help="Finished trials wanted, earlier ones included.",
            ),
            click.option("--workers", default=1, show_default=True, help="Processes."),
            click.option(
                "--space",
                type=click.Path(path_type=Path),
                help="YAML: keys of params.yaml, each with its values.",
            ),
            click.option(
                "--vary",
                multiple=True,
                metavar="KEY=VALUES",
                help="Values of a key, in YAML (again for more).",
            ),
            click.option(
                "--objective",
                "objectives",
                multiple=True,
                help="What is to be best (twice for a Pareto front).",
            ),
            click.option(
                "--storage", default="", help="URL of Optuna's database.  [default: a journal in .arena]"
            ),
            json_option,
        ]
    ):
        function = option(function)
    return function


@command.command("selection")
@click.argument("round_name", metavar="ROUND")
@sweep_options
@click.option(
    "--confirm", default=3, show_default=True, help="How many of the best are measured on the other half."
)
def selection(
    round_name: str,
    trials: int,
    workers: int,
    space: Path | None,
    vary: tuple[str, ...],
    objectives: tuple[str, ...],
    storage: str,
    as_json: bool,
    confirm: int,
) -> None:
    """Sweep what ROUND learns from and how it is trained, its start fixed and no battle judged again."""
    from arena_learning.rounds import check_round_name
    from arena_learning.sweep.run_selection import sweep_selection, table
    from arena_learning.sweep.spaces import chosen_space, selection_space

    params, paths = open_project()
    check_round_name(round_name, params)
    report = sweep_selection(
        round_name,
        params,
        paths,
        space=chosen_space(selection_space(round_name, params), space, vary),
        trials=trials,
        workers=workers,
        url=storage,
        judges=objectives,
        confirm=confirm,
    )
    if report:
        print_json(report) if as_json else click.echo(table(report))
