"""`arena promote`, `arena rollback`, `arena champion`: which model ships, and on which grounds."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from arena_learning.cli.common import json_option, open_project, run_stage
from arena_learning.cli.main import print_json
from arena_learning.core import ArenaError, hold_stage_lock

if TYPE_CHECKING:
    from arena_learning.core import Paths
    from arena_learning.params import Params
    from arena_learning.schema import Decision

_ORDER = ("champion", "elo", "length", "cut_off", "repetition", "refusals", "agreement", "capability")


@click.command("gate")
@json_option
def gate(as_json: bool) -> None:
    """Compare the last round's model with the champion; write data/arena/gate.json and reports/gate.html.

    This decides nothing: `arena promote` does.
    """
    from arena_learning.registry import write_gate

    run_stage("gate", None, write_gate, as_json=as_json)


@click.command("promote")
@click.argument("round_name", metavar="[ROUND]", required=False)
@click.option("--dry-run", is_flag=True, help="Print the comparison; record nothing.")
@json_option
def promote(round_name: str | None, dry_run: bool, as_json: bool) -> None:
    """Make ROUND's model the champion if it is better and no limit of `gate` is broken.

    ROUND is the last round by default. The decision is added to registry.json and shown in MLflow. Exit code 1 if the
    model is refused.
    """
    from arena_learning.registry import promote as decide

    params, paths = open_project()
    if not round_name and not params.rounds:
        raise ArenaError("there is no round to promote", where="params.yaml, rounds")
    name = round_name or params.ordered_rounds[-1]
    _refuse_other_weights(name, paths)
    with hold_stage_lock("registry", paths):
        decision = decide(name, params, paths, write=not dry_run)
    if as_json:
        print_json(decision.model_dump(mode="json"))
    else:
        _print_decision(decision, dry_run=dry_run)
    if not dry_run:
        _show(params, paths)
    if not decision.accepted:
        sys.exit(1)


@click.command("rollback")
@click.option(
    "--to", default="", metavar="ROUND", help="An earlier champion, or base.  [default: the one before]"
)
@json_option
def rollback(to: str, as_json: bool) -> None:
    """Make an earlier champion the champion again; `base` means that there is none."""
    from arena_learning.registry import roll_back

    params, paths = open_project()
    with hold_stage_lock("registry", paths):
        decision = roll_back(to, paths)
    if as_json:
        print_json(decision.model_dump(mode="json"))
    else:
        now = f"{decision.round} is the champion" if decision.weights else "there is no champion"
        click.echo(f"{now}; it was {decision.against}. Commit {paths.registry.name}.")
    _show(params, paths)


@click.command("champion")
@json_option
def champion(as_json: bool) -> None:
    """Show the champion: its folder, since when, and by which figures."""
    from arena_learning.registry import champion_on_record

    _, paths = open_project()
    decision = champion_on_record(paths)
    if as_json:
        held = (
            {**decision.model_dump(mode="json"), "path": str(paths.model(decision.round))}
            if decision
            else None
        )
        print_json(held)
        return
    if decision is None:
        click.echo("there is no champion yet: rounds are compared with the base (`arena promote`)")
        return
    click.echo(f"{decision.round} since {decision.when}, beside {decision.against}")
    click.echo(f"  folder: {paths.model(decision.round)}")
    click.echo(f"  weights: {decision.weights}")
    _print_checks(decision)


def _print_decision(decision: Decision, *, dry_run: bool) -> None:
    verdict = "is the champion" if decision.accepted else "is refused"
    if dry_run:
        verdict = f"would be {verdict.removeprefix('is ')}; nothing is recorded"
    click.secho(f"{decision.round} {verdict}", fg="green" if decision.accepted else "red")
    _print_checks(decision)


def _refuse_other_weights(name: str, paths: Paths) -> None:
    """Refuse a model that has changed since it answered the test set: the leaderboard speaks of another one."""
    from arena_learning.project import changed_dependencies

    folder = paths.model(name)
    if folder.relative_to(paths.root).as_posix() in changed_dependencies(f"answer@{name}", paths):
        raise ArenaError(
            "the model has changed since it answered the test set, so the leaderboard is not about it",
            where=str(folder),
            hint="run `arena repro`: it lets this model answer and rates it; or bring the other one back with "
            "git and `dvc checkout`",
        )


def _print_checks(decision: Decision) -> None:
    """Print the checks in the order in which they are made; registry.json sorts them by name."""
    marks = {True: "ok   ", False: "FAILS", None: "-    "}
    checks = decision.figures.get("checks", {})
    for name in sorted(
        checks, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)
    ):
        check = checks[name]
        click.echo(f"  {marks[check['passed']]} {check['text']}")


def _show(params: Params, paths: Paths) -> None:
    """Show the decision in MLflow; a failure is a warning, because registry.json holds the decision."""
    from arena_learning.tracking import track_project

    report = track_project(params, paths)
    for line in report.warnings:
        click.secho(f"warning: {line}", fg="yellow", err=True)
    for alias, version in report.versions.items():
        click.echo(f"MLflow: {alias} is {version}", err=True)
    click.echo(f"commit {paths.registry.name} with the run that it speaks of", err=True)
