"""`arena rounds`: list, check, add and prune the rounds of params.yaml."""

from __future__ import annotations

import click

from arena_learning.cli.common import json_option, open_project
from arena_learning.cli.main import print_json
from arena_learning.core import Table, table_text


@click.group("rounds")
def command() -> None:
    """List, check, add and prune the rounds of params.yaml."""


@command.command("list")
@json_option
def list_rounds(as_json: bool) -> None:
    """Print the rounds in their order."""
    params, paths = open_project(check=False)
    rows = [
        {
            "round": name,
            **params.rounds[name].model_dump(),
            "trained": (paths.model(name) / "config.json").exists(),
        }
        for name in params.ordered_rounds
    ]
    if as_json:
        print_json(rows)
        return
    keys = (
        "index",
        "round",
        "method",
        "split",
        "target",
        "init",
        "threshold",
        "adds_to",
        "labels",
        "trained",
    )
    cells = [[str(row[key]) for key in keys] for row in rows]
    click.echo(table_text(Table(keys, cells, keys), rule=False))


@command.command("check")
def check() -> None:
    """Check the rounds before anything runs.

    Finds unknown names, cycles, a split used twice, links to later rounds, a pool too small for the splits or without
    what a judge scores by, and, once the splits are prepared, instructions that two splits (or the validation or test
    set) share.
    """
    from arena_learning.project import check_disjoint, check_enough, check_scorable

    params, paths = open_project()
    check_scorable(params, paths, check_enough(params, paths))
    count = check_disjoint(paths)
    click.echo(f"{len(params.rounds)} rounds, in order: {', '.join(params.ordered_rounds)}")
    click.echo(f"{count} prepared instructions, no two files share one" if count else "nothing prepared yet")


@command.command("add")
@click.option("--iteration", "whole", is_flag=True, help="Add the rest of the iteration, not one stage.")
@click.option(
    "--threshold",
    "thresholds",
    type=float,
    multiple=True,
    help="Threshold K of each added round, in order.  [default: that of the last round of its kind]",
)
@click.option(
    "--size",
    type=click.IntRange(min=1),
    help="Number of instructions in a new split.  [default: as many as the last split]",
)
@click.option("--dry-run", is_flag=True, help="Show what would be added; write nothing.")
def add(whole: bool, thresholds: tuple[float, ...], size: int | None, dry_run: bool) -> None:
    """Add the next stage to params.yaml, with its links as in the paper's Table 1."""
    from arena_learning.project import add_rounds, check_enough, write_added

    params, paths = open_project()
    added = add_rounds(paths.params, whole=whole, thresholds=thresholds, size=size or 0)
    check_enough(params, paths, more=sum(one.new_size for one in added))
    if not dry_run:
        write_added(paths.params, added)
    for name, fields, new_size in added:
        given = f" ({new_size} instructions, new)" if new_size else ""
        links = f"target {fields.target}, init {fields.init}, adds_to {fields.adds_to}"
        click.echo(f"{name}: split {fields.split}{given}, {links}, threshold {fields.threshold:g}")
    click.echo(
        "params.yaml is as it was (--dry-run)" if dry_run else "written to params.yaml; now `arena repro`"
    )


@command.command("prune")
@click.option("--yes", is_flag=True, help="Remove it.  [default: only show what would be removed]")
def prune(yes: bool) -> None:
    """Remove what earlier rounds and opponents, no longer in params.yaml, left in dvc.lock and on the disk."""
    from arena_learning.project import find_stale, remove_stale

    params, paths = open_project()
    stale = find_stale(params, paths)
    if yes:
        remove_stale(stale, paths)
    if not (stale.stages or stale.files):
        click.echo("nothing is left over")
        return
    click.echo("removed:" if yes else "would remove (with --yes):")
    for name in stale.stages:
        click.echo(f"  dvc.lock: {name}")
    for path, size in stale.files:
        click.echo(f"  {path.relative_to(paths.home)}: {size / 1e6:.1f} MB")
    for path in stale.kept:
        click.echo(f"  (kept, params.yaml names it: {path.relative_to(paths.home)})")
