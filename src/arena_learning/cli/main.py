"""The `arena` command group: imports a command when it is called, and prints errors that a user can fix."""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import sys
import traceback
from contextvars import ContextVar
from typing import Any, NoReturn

import click

from arena_learning.core import ArenaError, redacted, set_up_log, suggest, system_error

# name -> (module below arena_learning.cli and function, one line of help). The module is imported when the command
# runs, so that `arena --help` loads neither torch nor mlflow.
COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("project:init", "Make a project from a profile, or write params.yaml of one."),
    "doctor": ("project:doctor", "Check this machine, the packages and params.yaml."),
    "plan": (
        "plan:command",
        "Show what a run needs: answers, tokens, time, money, memory; and what it took.",
    ),
    "repro": ("repro:command", "Run `dvc repro`; say what will run and how much is left."),
    "inputs": ("stages:inputs", "Write digests of the files that params.yaml names, so that DVC sees edits."),
    "prepare": ("stages:prepare", "Filter, deduplicate, decontaminate and split the instruction pool."),
    "embed": ("stages:embed", "Compute the pool's sentence embeddings ahead of `arena prepare`."),
    "difficulty": (
        "stages:difficulty",
        "Let a judge rate how difficult instructions are, for a hard test set.",
    ),
    "weights": ("stages:weights", "Write the base model's folder."),
    "battle": ("stages:battle", "Let a round's target and opponents answer its split."),
    "judge": ("stages:judge", "Judge a round's battles."),
    "dataset": ("stages:dataset", "Turn a round's battles into training rows."),
    "train": ("stages:train", "Train a round's model."),
    "answer": ("stages:answer", "Let a contestant answer the test set."),
    "evaluate": ("stages:evaluate", "Judge all pairs of contestants on held-out instructions."),
    "leaderboard": ("stages:leaderboard", "Rate the contestants; write figures and the report."),
    "gate": ("champion:gate", "Compare the last round's model with the champion."),
    "track": ("track:command", "Show rounds, leaderboards and training curves in MLflow."),
    "ui": ("project:ui", "Open MLflow on the project's store."),
    "promote": ("champion:promote", "Make a round's model the champion if it passes the gate."),
    "rollback": ("champion:rollback", "Make an earlier champion the champion again."),
    "champion": ("champion:champion", "Show the champion and its figures."),
    "serve": ("shipping:serve", "Print or start the command that serves a model."),
    "export": ("shipping:export", "Write a model as a folder, as GGUF, for Ollama or for a hub."),
    "rounds": ("rounds:command", "List, check, add and prune rounds."),
    "clean": ("project:clean", "Show what uses the disk; remove what can be made again."),
    "show": ("show:command", "Show battles, rounds, contestants, and what was spent."),
    "export-gguf": ("export_gguf:command", "Write a model as GGUF, for llama.cpp and Ollama too."),
    "import": (
        "import_:command",
        "Convert answers, verdicts or votes of other tools into this project's files.",
    ),
    "review": ("review:command", "Let people judge battles on a page; show how they agree."),
    "audit-judge": (
        "audit_judge:command",
        "Compare judges with labelled pairs: agreement, flips, biases, cost.",
    ),
    "sweep": ("sweep:command", "Optimise a judge's prompt or the selection of data; apply the winner."),
    "ablate": ("ablate:command", "Compare ways of making a round's rows: train, answer and judge each."),
    "rate": ("rate:rate", "Rate the models of any battle log (CSV, JSONL, JSON, Parquet)."),
    "consistency": ("rate:compare_arenas", "Compare two arenas' ratings as the paper does."),
}


_debug = ContextVar("debug", default=False)
_INTERRUPTED = 130  # what a shell says of a program that Ctrl-C has ended


class LazyGroup(click.Group):
    """A click group that imports its commands when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the command names in the order of the pipeline."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command called ``cmd_name``."""
        if cmd_name not in COMMANDS:
            raise click.UsageError(f"no command '{cmd_name}'; {suggest(cmd_name, COMMANDS)}")
        module, _, function = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(f"arena_learning.cli.{module}"), function)
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
@click.option("--quiet", is_flag=True, help="Show warnings and errors alone, and no progress.")
@click.option("--verbose", is_flag=True, help="Also show what helps to find a fault.")
@click.option("--log-json", is_flag=True, help="Write messages and progress as JSON, an object a line.")
def cli(debug: bool, quiet: bool, verbose: bool, log_json: bool) -> None:
    """Run an offline chatbot arena, train on the lost battles, and measure the gain."""
    if quiet and verbose:
        raise click.UsageError("--quiet and --verbose exclude each other")
    set_up_log(quiet=quiet, verbose=verbose, as_json=log_json)
    _debug.set(debug)


def print_json(value: Any) -> None:
    """Print ``value`` as indented JSON on standard output."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def _spare_the_collector() -> None:
    """Run the garbage collector rarely, and not at exit.

    A stage's libraries hold some hundred thousand objects until it ends; scanning them again and again while they load,
    and at exit, takes a third of the loading time.
    """
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)


def main() -> None:
    """Run the command line; what a user can fix becomes a message and exit code 2, Ctrl-C becomes 130."""
    _spare_the_collector()
    try:
        sys.exit(cli.main(standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo(
            "interrupted: run it again to go on; what was answered, judged or trained so far is kept",
            err=True,
        )
        sys.exit(_INTERRUPTED)
    except ArenaError as error:
        _tell(error)
    except OSError as error:
        found = system_error(error)
        if found is None:
            raise
        _tell(found)


def _tell(error: ArenaError) -> NoReturn:
    """Print an error, with its traceback if that is asked for, and exit; quoted text acts on no terminal."""
    from arena_learning.core import sanitized

    if _debug.get():  # a traceback may quote a refused request, so it is redacted as well
        click.echo(sanitized(redacted(traceback.format_exc())), err=True)
        sys.exit(1)
    click.secho(f"error: {sanitized(redacted(str(error)))}", fg="red", err=True)
    sys.exit(2)
