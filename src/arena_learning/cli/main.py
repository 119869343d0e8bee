"""The `arena` command group: finds a command's file by its name and prints errors that a user can mend."""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import sys
import traceback
from typing import Any

import click

from arena_learning.core.errors import ArenaError, suggest
from arena_learning.core.redact import hidden

# name -> (module below arena_learning.cli, one line of help). The module is imported when the command runs,
# so that `arena --help` loads neither torch nor mlflow.
COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("init", "Write params.yaml from a profile, with the engine that fits this machine."),
    "doctor": ("doctor", "Check this machine, the packages and params.yaml."),
    "inputs": ("inputs", "Write digests of the files that params.yaml names, for DVC to watch."),
    "prepare": ("prepare", "Filter, deduplicate, decontaminate and split the instruction pool."),
    "weights": ("weights", "Make the base model's folder."),
    "battle": ("battle", "Let a round's target and opponents answer its split."),
    "judge": ("judge", "Judge a round's battles in both orders."),
    "dataset": ("dataset", "Turn a round's battles into training rows."),
    "train": ("train", "Train a round's model."),
    "answer": ("answer", "Let a contestant answer the test set."),
    "evaluate": ("evaluate", "Let all contestants play all on held-out instructions."),
    "leaderboard": ("leaderboard", "Rate the contestants; write figures and the report."),
    "track": ("track", "Show everything in MLflow."),
    "ui": ("ui", "Open MLflow on the project's store."),
    "rounds": ("rounds", "List, check, add and prune rounds."),
    "clean": ("clean", "Show what fills the disk; free what can be made again."),
    "show": ("show", "Read battles, rounds and contestants."),
    "export-gguf": ("export_gguf", "Write a model as GGUF, for llama.cpp and Ollama too."),
    "import": ("import_", "Turn answers, verdicts or votes of other tools into this project's files."),
    "audit-judge": ("audit_judge", "Hold judges against labelled pairs: agreement, flips, biases, cost."),
    "sweep": ("sweep", "Sweep judges' prompts or the selection of data; apply the winner."),
    "rate": ("rate", "Rate the models of any battle log (CSV, JSONL, Parquet)."),
    "consistency": ("consistency", "Compare two arenas' ratings as the paper does."),
}


class LazyGroup(click.Group):
    """A click group whose commands are imported by name when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the command names in the order of the pipeline."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command called ``cmd_name``."""
        if cmd_name not in COMMANDS:
            raise click.UsageError(f"no command '{cmd_name}'; {suggest(cmd_name, COMMANDS)}")
        module = importlib.import_module(f"arena_learning.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands' help from the table, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup, context_settings={"auto_envvar_prefix": "ARENA", "help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="arena-learning")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Play an offline chatbot arena, train on the lost battles, and measure the climb."""
    ctx.obj = {"debug": debug}


def print_json(value: Any) -> None:
    """Print ``value`` as indented JSON on standard output."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def _spare_the_collector() -> None:
    """Let the collector run seldom, and not over what is left at the end.

    A stage's libraries are some hundred thousand objects that live as long as it does; going over them again and again
    while they load, and once more at the exit, is a third of what loading them takes.
    """
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)


def main() -> None:
    """Run the command line; an `ArenaError` becomes a message and exit code 2."""
    debug = "--debug" in sys.argv
    _spare_the_collector()
    try:
        cli(standalone_mode=True)
    except ArenaError as error:
        if debug:  # what a library quotes of a refused request is in there, too
            click.echo(hidden(traceback.format_exc()), err=True)
            sys.exit(1)
        click.secho(f"error: {hidden(str(error))}", fg="red", err=True)
        sys.exit(2)
