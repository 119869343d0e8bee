"""`arena serve` and `arena export`: take a model to where it is used."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from arena_learning.cli.common import open_project

if TYPE_CHECKING:
    from arena_learning.core import Paths
    from arena_learning.engines.gguf import GgufType
    from arena_learning.params import Params
    from arena_learning.registry import Target


@click.command("serve")
@click.argument("name", metavar="[ROUND]", required=False)
@click.option("--run", "start", is_flag=True, help="Start the server in place of this command.")
@click.option(
    "--engine",
    type=click.Choice(["vllm", "llama.cpp", "openvino"]),
    help="Whose server.  [default: the first that is installed, that of `serving` before others]",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="Port to listen on."
)
def serve(name: str | None, start: bool, engine: str | None, host: str, port: int) -> None:
    """Print the command that serves ROUND's model with the engine's own OpenAI-compatible server.

    ROUND is a round or base, by default the champion, else the last round.
    """
    from arena_learning.registry import make_served_gguf, serve_command

    params, paths = open_project()
    model = name or _shipped(params, paths)
    command = serve_command(model, params, paths, engine=engine or "", host=host, port=port)
    for note in command.notes:
        click.echo(note, err=True)
    if command.needs is not None and not command.needs.is_file():
        if start:
            make_served_gguf(model, params, paths)
        else:
            export = ["arena", "export", model, "--to", "gguf", "--out", str(command.needs)]
            click.echo(shlex.join(export))
    click.echo(shlex.join(command.words), err=start)
    if start:
        try:
            os.execvp(command.words[0], command.words)
        except FileNotFoundError:
            from arena_learning.core import ArenaError

            program = command.words[0]
            raise ArenaError(
                f"'{program}' is not installed", hint="install it, or name another --engine"
            ) from None


@click.command("export")
@click.argument("name", metavar="[ROUND]", required=False)
@click.option(
    "--to",
    type=click.Choice(["folder", "gguf", "ollama", "hub"]),
    required=True,
    help="folder: safetensors, tokenizer, template, model card. gguf: one file. ollama: that file and a Modelfile. "
    "hub: the folder, and the command that uploads it.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Where to.  [default: below .arena/release]")
@click.option(
    "--dtype",
    type=click.Choice(["f16", "q8_0"]),
    default="q8_0",
    show_default=True,
    help="Of GGUF's matrices.",
)
@click.option(
    "--licence",
    default="",
    metavar="ID",
    help="The model's licence, such as apache-2.0.  [default: the base's]",
)
@click.option("--repo", default="", metavar="OWNER/NAME", help="hub: the repository.")
@click.option("--upload", "send", is_flag=True, help="hub: upload now, with the token in HF_TOKEN.")
def export(
    name: str | None, to: Target, out: Path | None, dtype: GgufType, licence: str, repo: str, send: bool
) -> None:
    """Write ROUND's model for use elsewhere, with a model card.

    ROUND is a round or base, by default the champion, else the last round. The card has the leaderboard, the data
    cards, the judges' agreement and the licences.
    """
    from arena_learning.registry import export_model, upload, upload_command

    if (repo or send) and to != "hub":
        raise click.UsageError("--repo and --upload belong to --to hub")
    if send and not repo:
        raise click.UsageError("--upload needs --repo OWNER/NAME")
    params, paths = open_project()
    model = name or _shipped(params, paths)
    done = export_model(model, to, out, params, paths, dtype=dtype, licence=licence)
    click.echo(f"{model}: {done.path}")
    for note in done.notes:
        click.echo(note, err=True)
    if to == "hub" and send:
        click.echo(upload(repo, done.path))
    elif to == "hub":
        click.echo(upload_command(repo or f"OWNER/{model}", done.path))


def _shipped(params: Params, paths: Paths) -> str:
    """Return the champion's round, or the last round where there is no champion, or the base.

    Raises:
        ArenaError: the champion's folder does not hold the weights that were promoted.
    """
    from arena_learning.core import ArenaError
    from arena_learning.params import BASE
    from arena_learning.registry import champion_on_record, holds_promoted

    champion = champion_on_record(paths)
    if champion is None:
        return next(reversed(params.ordered_rounds), BASE)
    if not holds_promoted(champion, paths):
        raise ArenaError(
            f"the folder does not hold the champion's weights ({champion.weights[:12]})",
            where=str(paths.model(champion.round)),
            hint="bring them back with git and `dvc checkout`, or name the round to take what is there",
        )
    return champion.round
