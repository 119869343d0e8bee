"""`arena plan`: what a run of the project needs, before it begins."""

from __future__ import annotations

from typing import Any

import click

from arena_learning.cli.common import json_option, open_project
from arena_learning.cli.main import print_json
from arena_learning.core import table_markdown, table_text


@click.command("plan")
@click.option(
    "--memory", is_flag=True, help="Memory of each training on each GPU.  [default: all that is known]"
)
@click.option(
    "--gpus",
    multiple=True,
    type=click.IntRange(min=1),
    metavar="N",
    help="Compare the strategies on N GPUs; may be repeated.  [default: what train.launch says]",
)
@click.option("--gpu-gib", default=79.0, show_default=True, help="Memory of one GPU in GiB.")
@click.option(
    "--model", default="", help="Folder or hub id of the model.  [default: models/base, or its source]"
)
@click.option("--markdown", is_flag=True, help="Print Markdown.")
@json_option
def command(
    memory: bool, gpus: tuple[int, ...], gpu_gib: float, model: str, markdown: bool, as_json: bool
) -> None:
    """Show what the rounds of params.yaml need."""
    params, paths = open_project()
    # Each section is shown if its option is given, and all are if none is.
    sections = {"memory": memory}
    wanted = [name for name, given in sections.items() if given] or list(sections)
    found: dict[str, Any] = {}
    if "memory" in wanted:
        from arena_learning.train import memory_table, plan_memory

        rows = plan_memory(params, paths, model=model, gpus=gpus)
        found["memory"] = [row.to_dict() for row in rows]
        if not as_json:
            table = memory_table(rows, gpu_gib)
            click.echo(table_markdown(table) if markdown else table_text(table))
    if as_json:
        print_json(found)
