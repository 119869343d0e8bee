"""`arena ui`: MLflow's user interface on the project's store."""

from __future__ import annotations

import click

from arena_learning.cli.common import open_project


@click.command("ui")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Port on this machine."
)
def command(port: int) -> None:
    """Serve MLflow's user interface on this machine until it is stopped (Ctrl-C)."""
    from arena_learning.tracking.server import serve

    _, paths = open_project(check=False)
    serve(paths, port)
