"""`arena track`: show the project's files in MLflow."""

from __future__ import annotations

import dataclasses
import sys

import click

from arena_learning.cli.common import json_option, open_project
from arena_learning.cli.main import print_json


@click.command("track")
@click.option("--rebuild", is_flag=True, help="Write all runs anew from the files alone.")
@click.option("--strict", is_flag=True, help="Exit with code 1 where tracking fails; else it only warns.")
@json_option
def command(rebuild: bool, strict: bool, as_json: bool) -> None:
    """Show rounds, boards and training curves in MLflow. Run again, it changes only what has changed."""
    from arena_learning.track import track

    params, paths = open_project()
    report = track(params, paths, rebuild=rebuild)
    for line in report.warnings:
        click.secho(f"warning: {line}", fg="yellow", err=True)
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
    if strict and report.failed:
        sys.exit(1)
