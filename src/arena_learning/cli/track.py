"""`arena track`: show the project's results in MLflow."""

from __future__ import annotations

import dataclasses
import sys

import click

from arena_learning.cli.common import json_option, open_project
from arena_learning.cli.main import print_json
from arena_learning.core import timed_stage


@click.command("track")
@click.option(
    "--rebuild", is_flag=True, help="Write all runs, traces and versions of models again from the files."
)
@click.option("--strict", is_flag=True, help="Exit with code 1 on warnings too.")
@json_option
def command(rebuild: bool, strict: bool, as_json: bool) -> None:
    """Show rounds, leaderboards, training curves and a sample of the judges' games in MLflow.

    A second run updates only what has changed. People's verdicts on the games (feedback named `winner`) are read from
    MLflow into feedback.jsonl.

    Exit code 2 if MLflow does not show what the files hold; `dvc repro` then runs this stage again.
    """
    from arena_learning.tracking import track_project

    params, paths = open_project()
    with timed_stage(paths):
        report = track_project(params, paths, rebuild=rebuild)
    shows = not report.failed and bool(report.logged or report.unchanged)
    for line in report.warnings:
        # The failure itself is the last message.
        failed = not shows and line is report.warnings[-1]
        click.secho(f"{'error' if failed else 'warning'}: {line}", fg="red" if failed else "yellow", err=True)
    if as_json:
        print_json(dataclasses.asdict(report))
    else:
        click.echo(f"track: {report.store}, {report.seconds:.1f} s")
        for what, titles in (
            ("logged", report.logged),
            ("unchanged", report.unchanged),
            ("removed", report.removed),
        ):
            if titles:
                click.echo(f"  {what}: {', '.join(titles)}")
        if report.traces or report.traces_logged:
            click.echo(f"  traces: {report.traces} ({report.traces_logged} written)")
        if report.feedback:
            told = f"{report.feedback} verdicts of people ({report.feedback_new} new)"
            click.echo(f"  {paths.feedback.name}: {told}")
        for alias, version in report.versions.items():
            click.echo(f"  {alias}: {version}")
    if not shows:
        sys.exit(2)
    if strict and report.warnings:
        sys.exit(1)
