"""`arena init`: params.yaml from a profile."""

from __future__ import annotations

from pathlib import Path

import click

from arena_learning.core.paths import Paths


@click.command("init")
@click.option("--profile", default="laptop", show_default=True, help="A file in profiles/, without .yaml.")
@click.option("--force", is_flag=True, help="Replace a params.yaml that is there.")
def command(profile: str, force: bool) -> None:
    """Write params.yaml from a profile, with the engine and type that fit this machine."""
    from arena_learning.project.profile import choose_serving, has_cuda, write_params

    paths = Paths(Path.cwd())
    found = choose_serving(cuda=has_cuda())
    serving = write_params(profile, paths.profiles, paths.params, found, force=force)
    click.echo(f"{paths.params.name}: from profile {profile}")
    click.echo(f"  serving.engine: {serving.engine}, serving.dtype: {serving.dtype} ({serving.reason})")
