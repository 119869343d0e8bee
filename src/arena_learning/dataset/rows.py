"""The rows of a round: which of the candidates are learnt, and what became of every instruction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from arena_learning.core import logger
from arena_learning.dataset.candidates import (
    Candidate,
    Candidates,
    Material,
    RoundSamples,
    candidates_of,
    material_of,
)
from arena_learning.dataset.select import Rules
from arena_learning.dataset.strategy import LearntAnswer, StrategySources, strategy_order
from arena_learning.params import Round
from arena_learning.pool import seeded_rank
from arena_learning.schema import AnyBattle, Instruction, PreferenceRow, Response, SftRow


class SelectedRows(NamedTuple):
    """A round's new rows (one of the two lists is empty), and the outcome of every instruction.

    ``wanted`` is the number that a strategy was to choose; 0 where there was none.
    """

    sft: list[SftRow]
    preferences: list[PreferenceRow]
    outcomes: dict[str, str]
    wanted: int = 0


def select_rows(
    name: str,
    this: Round,
    instructions: Sequence[Instruction],
    responses: Sequence[Response],
    battles: Sequence[AnyBattle],
    rules: Rules,
    samples: RoundSamples = RoundSamples(),  # noqa: B008 - frozen
    sources: StrategySources = StrategySources(),  # noqa: B008 - frozen
) -> SelectedRows:
    """Select what to learn from each instruction of a round.

    Args:
        name: the round.
        this: its parameters.
        instructions: the split's.
        responses: contestants' answers to them.
        battles: the judged battles.
        rules: how to select.
        samples: the target's samples, in a round that learns from them.
        sources: what strategies other than ``battles`` read.
    """
    given = material_of(name, this, instructions, responses, battles, rules, samples)
    if this.online:
        return SelectedRows([], [], {one.id: "answered in training" for one in given.instructions})
    lost = candidates_of(given, rules, lost_only=True)
    if rules.strategy == "battles" or given.target is None:
        return _widest(lost, given, rules, 0 if given.target is None else rules.budget)
    found = candidates_of(given, rules._replace(threshold=0.0), lost_only=False)
    if rules.strategy == "all":
        return _widest(found, given, rules)
    won = _widest(lost, given, rules)
    return _by_strategy(found, given, rules, rules.budget or len(won.sft) + len(won.preferences), sources)


def _by_strategy(
    found: Candidates, given: Material, rules: Rules, wanted: int, sources: StrategySources
) -> SelectedRows:
    """Keep the ``wanted`` rows that a strategy puts first."""
    rows = [
        LearntAnswer(one, _learnt(candidate.row))
        for one in given.instructions
        if isinstance(candidate := found[one.id], Candidate)
    ]
    order = strategy_order(rules.strategy, rows, wanted, sources)
    _say_too_few(given, rules, wanted, len(order))
    most = min(wanted, rules.max_rows or wanted)  # none where `battles` gives none
    return _selected(found, set(order[:most]), f"not chosen by {rules.strategy}", wanted)


def _widest(found: Candidates, given: Material, rules: Rules, wanted: int = 0) -> SelectedRows:
    """Keep as many rows as are wanted (0: any number) and allowed, those with the widest gaps, in their order."""
    gaps = {i: one.gap for i, one in found.items() if isinstance(one, Candidate)}
    _say_too_few(given, rules, wanted, len(gaps))
    order = sorted(gaps, key=lambda i: (-gaps[i], seeded_rank(rules.seed, "rows", i)))
    most = min(filter(None, (rules.max_rows, wanted)), default=len(order))
    return _selected(found, set(order[:most]), "beyond the most rows", wanted)


def _say_too_few(given: Material, rules: Rules, wanted: int, there: int) -> None:
    if there < wanted:
        logger.warning(
            f"{given.name}: strategy {rules.strategy} was to choose {wanted} rows, and there are {there}"
        )


def _selected(found: Candidates, kept: set[str], passed: str, wanted: int) -> SelectedRows:
    """Return the rows of the instructions in ``kept``; ``passed`` is why the others are left out."""
    rows = [one.row for i, one in found.items() if isinstance(one, Candidate) and i in kept]
    outcomes = {
        i: one if isinstance(one, str) else "row" if i in kept else passed for i, one in found.items()
    }
    return SelectedRows(
        [row for row in rows if isinstance(row, SftRow)],
        [row for row in rows if isinstance(row, PreferenceRow)],
        outcomes,
        wanted,
    )


def _learnt(row: SftRow | PreferenceRow) -> str:
    return (row.completion if isinstance(row, SftRow) else row.chosen)[0].content
