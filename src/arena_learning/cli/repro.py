"""`arena repro`: say what will run and how long it takes, then let DVC run it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click

from arena_learning.cli.common import open_project


@click.command("repro", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[DVC'S ARGUMENTS]...")
def command(arguments: tuple[str, ...]) -> None:
    """Run `dvc repro`; say before it which stages will run, and before each stage how much is left.

    All arguments go to DVC (`arena repro --force train@sft-i1`). The exit code is DVC's. With --dry nothing runs.
    `arena plan --against-run` holds the run against what was planned when it began.

    Seconds are those of each stage's last run in this project (.arena/seconds.jsonl). For a stage that has not run yet
    they are the measured ones of the profile that params.yaml equals (profiles/seconds.json), or unknown.
    """
    from arena_learning.core import PLAN
    from arena_learning.project import (
        DVC,
        check_dvc,
        check_scorable,
        forecast_dict,
        forecast_run,
        is_large,
        keep_forecast,
        plan_run,
        plan_text,
    )

    params, paths = open_project()
    check_dvc(paths)
    if not is_large(params, paths):
        check_scorable(params, paths)
    plan = plan_run(arguments, params, paths)
    # The stages call `arena` by its name: that of this environment, also where it is not activated.
    programs = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": os.pathsep.join((programs, os.environ.get("PATH", os.defpath)))}
    if plan is not None:  # else DVC says below what is wrong
        click.echo(plan_text(plan))
        if "--dry" in arguments:
            return
        environment[PLAN] = json.dumps({stage.name: stage.seconds for stage in plan.stages})
        if plan.stages:
            keep_forecast(forecast_dict(forecast_run(plan, params, paths), params, {}), paths)
    sys.stdout.flush()
    # This process becomes DVC, so that its exit code, its terminal and a Ctrl-C are those of `dvc repro`.
    os.execve(sys.executable, [*DVC, "repro", *arguments], environment)
