"""`arena sweep`: search for the best parameters with Optuna; MLflow shows the trials."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from arena_learning.cli.common import json_option, open_project
from arena_learning.cli.main import print_json

if TYPE_CHECKING:
    from arena_learning.core import Paths


@click.group("sweep")
def command() -> None:
    """Optimise judges' prompts or the selection of training data; show and apply the result."""


def _refuse_split(context: click.Context, option: click.Parameter, split: str | None) -> None:
    """Refuse the option that one expects: what chooses must not see what measures."""
    if split is not None:
        raise click.UsageError(
            f"a sweep chooses, so it takes no split: here '{split}'; leave --split out. It looks at validation alone, "
            "and the test set is for the leaderboard"
        )


def sweep_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that both sweeps share."""
    options = (
        click.option(
            "--trials", default=8, show_default=True, help="Number of finished trials, earlier ones included."
        ),
        click.option("--workers", default=1, show_default=True, help="Processes."),
        click.option(
            "--space",
            type=click.Path(path_type=Path),
            help="YAML file of the search space: keys of params.yaml.",
        ),
        click.option(
            "--vary",
            multiple=True,
            metavar="KEY=VALUES",
            help="A key and its values, in YAML; may be repeated.",
        ),
        click.option(
            "--objective", "objectives", multiple=True, help="Metric to optimise (two: a Pareto front)."
        ),
        click.option(
            "--storage", default="", help="URL of Optuna's database.  [default: a journal in .arena]"
        ),
        click.option("--no-track", is_flag=True, help="Do not write to MLflow."),
        click.option("--split", hidden=True, expose_value=False, callback=_refuse_split),
        json_option,
    )
    for option in reversed(options):
        function = option(function)
    return function


@command.command("selection")
@click.argument("round_name", metavar="ROUND")
@sweep_options
@click.option("--confirm", default=3, show_default=True, help="Best trials to confirm on the other half.")
def selection(
    round_name: str,
    trials: int,
    workers: int,
    space: Path | None,
    vary: tuple[str, ...],
    objectives: tuple[str, ...],
    storage: str,
    no_track: bool,
    as_json: bool,
    confirm: int,
) -> None:
    """Optimise ROUND's data selection and training; its start is fixed and no battle is judged again."""
    from arena_learning.params import check_round_name
    from arena_learning.sweep import chosen_space, selection_space
    from arena_learning.sweep.selection import selection_table, sweep_selection

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
        log=_log(paths, no_track),
    )
    _print(report, selection_table, as_json)


@command.command("judge")
@click.argument("judge_name", metavar="JUDGE")
@click.option(
    "--labelled",
    type=click.Path(path_type=Path),
    default=Path("data/judge_labels.jsonl"),
    show_default=True,
    help="Labelled pairs (JSONL, or .gz).",
)
@sweep_options
@click.option(
    "--max-flips", default=0.5, show_default=True, help="Largest share of pairs whose two orders disagree."
)
@click.option(
    "--max-unscored", default=0.05, show_default=True, help="Largest share of pairs without a verdict."
)
@click.option("--max-tokens", default=0.0, help="Most tokens per game.  [default: any number]")
def judge(
    judge_name: str,
    labelled: Path,
    trials: int,
    workers: int,
    space: Path | None,
    vary: tuple[str, ...],
    objectives: tuple[str, ...],
    storage: str,
    no_track: bool,
    as_json: bool,
    max_flips: float,
    max_unscored: float,
    max_tokens: float,
) -> None:
    """Optimise JUDGE's prompt and parameters: agreement with labels on one half, confirmed on the other half."""
    from arena_learning.core import ArenaError, suggest
    from arena_learning.sweep import chosen_space, judge_space
    from arena_learning.sweep.judge import Limits, judge_table, sweep_judge

    params, paths = open_project()
    if judge_name not in params.judges:
        raise ArenaError(
            f"no judge '{judge_name}'", where="params.yaml, judges", hint=suggest(judge_name, params.judges)
        )
    report = sweep_judge(
        judge_name,
        params,
        paths,
        space=chosen_space(judge_space(judge_name, params), space, vary),
        file=labelled,
        trials=trials,
        workers=workers,
        url=storage,
        objectives=objectives,
        limits=Limits(max_flips, max_unscored, max_tokens),
        log=_log(paths, no_track),
    )
    _print(report, judge_table, as_json)


@command.command("list")
def list_sweeps() -> None:
    """List the finished sweeps."""
    from arena_learning.sweep import summaries

    for line in summaries(open_project(check=False)[1]):
        click.echo(line)


@command.command("show")
@click.argument("study")
@json_option
def show(study: str, as_json: bool) -> None:
    """Print the table of a finished sweep; the start of its name is enough."""
    from arena_learning.core import read_json
    from arena_learning.sweep import find_report
    from arena_learning.sweep.judge import judge_table
    from arena_learning.sweep.selection import selection_table

    report = read_json(find_report(study, open_project(check=False)[1]))
    _print(report, judge_table if report["kind"] == "judge" else selection_table, as_json)


@command.command("apply")
@click.argument("study")
@click.option("--trial", type=int, help="Number of the trial to apply.  [default: the winner]")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--force", is_flag=True, help="Apply it even if the other half did not confirm it.")
def apply(study: str, trial: int | None, dry_run: bool, force: bool) -> None:
    """Show how a sweep's winner changes params.yaml, and write it; comments are kept."""
    from arena_learning.sweep import apply_winner as apply_winner

    _, paths = open_project()
    done = apply_winner(study, paths, trial=trial, write=not dry_run, force=force)
    for warning in done.warnings:
        click.secho(f"warning: {warning}", fg="yellow", err=True)
    click.echo(done.diff or f"params.yaml has the values of trial {done.trial} already", nl=not done.diff)


def _log(paths: Paths, no_track: bool) -> Callable[..., object]:
    from arena_learning.sweep import log_study

    return (lambda study, report: None) if no_track else lambda study, report: log_study(study, paths, report)


def _print(report: dict[str, Any], table: Callable[[dict[str, Any]], str], as_json: bool) -> None:
    if report and as_json:
        print_json(report)
    elif report:
        click.echo(table(report))
