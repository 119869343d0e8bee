"""`arena clean`: what fills the disk, and freeing what can be made again."""

from __future__ import annotations

import click

from arena_learning.cli.common import json_option, open_project
from arena_learning.cli.main import print_json


@click.command("clean")
@click.option("--yes", is_flag=True, help="Free it. Without this, only what would be freed is shown.")
@click.option(
    "--only",
    "kinds",
    multiple=True,
    metavar="KIND",
    help='export, checkpoints, "opponents\' weights", experiments or "DVC cache" (again for more).  [default: all]',
)
@json_option
def command(yes: bool, kinds: tuple[str, ...], as_json: bool) -> None:
    """Account for the disk by round and kind, and free what can be made again.

    Never freed: models, rows and reports (`dvc gc` and `arena rounds prune` are for those that are no longer used), the
    memory of answers and games, and MLflow's store (`mlflow gc` empties its bin).
    """
    from arena_learning.core.errors import ArenaError, suggest
    from arena_learning.project.clean import REMADE, clean, plan
    from arena_learning.project.disk import account, disk_text

    for kind in kinds:
        if kind not in REMADE:
            raise ArenaError(
                f"nothing of the kind '{kind}' is freed", where="--only", mend=suggest(kind, REMADE)
            )
    wanted = kinds or tuple(REMADE)
    params, paths = open_project(check=False)
    items = account(params, paths)
    freed = clean(params, paths, wanted) if yes else plan(items, wanted, paths)
    if as_json:
        rows = [{**item._asdict(), "path": str(item.path.relative_to(paths.home))} for item in items]
        print_json({"disk": rows, "freed" if yes else "would_free": [line._asdict() for line in freed]})
        return
    click.echo(f"{disk_text(items)}\n")
    click.echo("freed:" if yes else "would free (with --yes):")
    for found in freed:
        size = "size told when freed" if found.size is None else f"{found.size / 1e6:.1f} MB"
        click.echo(f"  {found.kind}: {found.number}, {size} ({REMADE[found.kind]})")
