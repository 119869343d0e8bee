"""Functions that commands share: read the project, run a stage under its lock, print figures."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import click

from arena_learning.cli.main import print_json
from arena_learning.core import (
    Paths,
    check_deadline,
    check_location,
    find_project,
    hold_stage_lock,
    start_deadline,
    timed_stage,
)
from arena_learning.params import Params, check_round_name, check_rounds, load_params

json_option = click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
fresh_option = click.option("--fresh", is_flag=True, help="Ignore the store; request everything again.")
retry_option = click.option(
    "--retry-unscored", "retry", is_flag=True, help="Request again what was refused or unscored before."
)


def open_project(*, check: bool = True) -> tuple[Params, Paths]:
    """Read params.yaml; check its rounds and the project's path. From here on the budget's hours are counted.

    Raises:
        ArenaError: no project here, a path that MLflow or DVC cannot handle, or bad parameters.
    """
    paths = find_project()
    params = load_params(paths.params)
    start_deadline(params.budget.hours)
    if check:
        check_location(paths)
        check_rounds(params)
    return params, paths


def run_stage(
    stage: str, round_name: str | None, work: Callable[[Params, Paths], dict[str, Any]], *, as_json: bool
) -> None:
    """Run one stage of the pipeline and print its metrics.

    Args:
        stage: the stage's name.
        round_name: the round to run it for, or None; must be in params.yaml.
        work: the function that runs the stage.
        as_json: print JSON instead of lines.
    """
    params, paths = open_project()
    if round_name is not None:
        check_round_name(round_name, params)
    label = f"{stage} {round_name}" if round_name else stage
    check_deadline(f"the stage '{label}' and what follows it")
    start = time.monotonic()
    with timed_stage(paths), hold_stage_lock(label, paths):
        metrics = work(params, paths)
    if as_json:
        print_json(metrics)
        return
    click.echo(f"{label}: {time.monotonic() - start:.1f} s")
    for line in metric_lines(metrics):
        click.echo(f"  {line}")
    sys.stdout.flush()


def metric_lines(value: dict[str, Any], prefix: str = "") -> list[str]:
    """Return nested figures as ``a.b: value`` lines, without long lists and texts.

    A group without groups of its own takes one line: ``splits: test 120, validation 117``. Control characters in
    what models, endpoints and pools say are shown as codes.
    """
    from arena_learning.core import sanitized

    lines = []
    for key, item in value.items():
        if isinstance(item, dict):
            figures = {name: one for name, one in item.items() if not isinstance(one, list)}
            if any(isinstance(one, dict) for one in figures.values()):
                lines += metric_lines(item, f"{prefix}{key}.")
            elif figures:
                listed = ", ".join(f"{name} {_figure(one)}" for name, one in figures.items())
                lines.append(f"{prefix}{key}: {listed}")
        elif not isinstance(item, list):
            lines.append(f"{prefix}{key}: {_figure(item)}")
    return [sanitized(line) for line in lines]


def _figure(value: Any) -> str:
    """Return a figure as text: four digits of a fraction, ``-`` where there is none."""
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
