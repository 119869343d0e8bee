"""`arena show`: print a battle, a round, a contestant, the cost of judged battles, or the ledger."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from arena_learning.cli.common import json_option, open_project

if TYPE_CHECKING:
    from arena_learning.report import Page


@click.group("show")
def command() -> None:
    """Show battles, rounds, contestants, efficiency, the ledger."""


@command.command("battle")
@click.argument("place", metavar="ROUND|arena")
@click.argument("instruction")
@click.argument("pair", metavar="[A B]", nargs=-1)
@json_option
def battle(place: str, instruction: str, pair: tuple[str, ...], as_json: bool) -> None:
    """Show INSTRUCTION's battles in a round or on the test set: answers, both games, rationales, result."""
    from arena_learning.report import battle_text, show_battle

    if len(pair) not in (0, 2):
        raise click.UsageError("name both contestants or none")
    params, paths = open_project()
    _print(show_battle(place, instruction, pair, params, paths), battle_text, as_json=as_json)


@command.command("round")
@click.argument("name")
@json_option
def round_(name: str, as_json: bool) -> None:
    """Show what round NAME was trained on: counts, its data card, the worst losses by category."""
    from arena_learning.report import round_text, show_round

    params, paths = open_project()
    _print(show_round(name, params, paths), round_text, as_json=as_json)


@command.command("contestant")
@click.argument("name")
@click.argument("instruction", required=False)
@json_option
def contestant(name: str, instruction: str | None, as_json: bool) -> None:
    """Show NAME's results, or how the answers to one test INSTRUCTION changed over the rounds up to NAME."""
    from arena_learning.report import answers_text, contestant_text, show_answers, show_contestant

    params, paths = open_project()
    if instruction is None:
        _print(show_contestant(name, params, paths), contestant_text, as_json=as_json)
    else:
        _print(show_answers(name, instruction, params, paths), answers_text, as_json=as_json)


@command.command("efficiency")
@json_option
def efficiency(as_json: bool) -> None:
    """Show seconds per judged battle and battles per day, beside the paper's figures."""
    from arena_learning.report import efficiency_text
    from arena_learning.tracking import battle_efficiency as measure

    params, paths = open_project()
    _print(measure(params, paths), efficiency_text, as_json=as_json)


@command.command("ledger")
@json_option
def ledger(as_json: bool) -> None:
    """Show what answers, verdicts and trainings have taken: requests, tokens, seconds, money, and the budget's rest.

    It counts what was asked, in all runs: also for parameters that have changed since, and with --fresh. Recorded
    answers take nothing.
    """
    from arena_learning.report import ledger_text, ledger_view, read_ledger

    params, paths = open_project(check=False)
    _print(ledger_view(read_ledger(params, paths), params), ledger_text, as_json=as_json)


def _print(
    view: Mapping[str, Any], to_text: Callable[[Mapping[str, Any], Page], str], *, as_json: bool
) -> None:
    """Print ``view``; control characters in models' texts are made harmless in both forms."""
    from arena_learning.core import safe_json
    from arena_learning.report import Page

    if as_json:
        click.echo(safe_json(view))
        return
    page = Page(shutil.get_terminal_size().columns, colour=sys.stdout.isatty())
    click.echo(to_text(view, page))
