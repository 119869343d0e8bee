"""Commands for a project as a whole: parameters, machine, disk, MLflow's user interface."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from arena_learning.cli.common import json_option, open_project
from arena_learning.cli.main import print_json
from arena_learning.core import Paths, find_project


@click.command("init")
@click.option("--profile", default="laptop", show_default=True, help="Name of a file in profiles/.")
@click.option("--force", is_flag=True, help="Replace an existing params.yaml.")
def init(profile: str, force: bool) -> None:
    """Write params.yaml from a profile, with the engine and dtype that suit this machine."""
    from arena_learning.project import choose_serving, has_cuda, write_params

    paths = Paths(Path.cwd())
    found = choose_serving(cuda=has_cuda())
    serving = write_params(profile, paths.profiles, paths.params, found, force=force)
    click.echo(f"{paths.params.name}: from profile {profile}")
    click.echo(f"  serving.engine: {serving.engine}, serving.dtype: {serving.dtype} ({serving.reason})")


@click.command("doctor")
@json_option
def doctor(as_json: bool) -> None:
    """Check this machine, the packages and params.yaml; exit code 2 if something would fail."""
    from arena_learning.project import examine

    findings = examine(find_project())
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        for finding in findings:
            hint = f"  ({finding.hint})" if finding.hint and finding.level != "ok" else ""
            click.echo(f"{finding.level:>4}  {finding.what}{hint}")
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
