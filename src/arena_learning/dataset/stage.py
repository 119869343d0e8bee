"""The `dataset` stage: turn a round's battles into training rows with provenance, and write a data card."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from arena_learning.core import Paths, write_json
from arena_learning.dataset.candidates import RoundSamples
from arena_learning.dataset.card import data_card
from arena_learning.dataset.rows import SelectedRows, select_rows
from arena_learning.dataset.select import Rules
from arena_learning.dataset.strategy import StrategySources
from arena_learning.params import NONE, WINNER, Params
from arena_learning.schema import (
    Battle,
    Instruction,
    PreferenceRow,
    Provenance,
    Response,
    SampleScore,
    SftRow,
    iter_rows,
    read_battle_results,
    read_rows,
    write_rows,
)

AnyRow = TypeVar("AnyRow", SftRow, PreferenceRow)


def read_samples(name: str, params: Params, paths: Paths) -> RoundSamples:
    """Read the samples of a round that learns from them."""
    if not params.samples_of(name):
        return RoundSamples()
    return RoundSamples(
        read_rows(paths.samples(name), Response), read_rows(paths.sample_scores(name), SampleScore)
    )


def make_dataset(name: str, params: Params, paths: Paths) -> dict[str, Any]:
    """Select a round's rows, append them to those of the round that it continues, and return the data card.

    Example:
        card = make_dataset("sft-i1", params, paths)
    """
    this = params.rounds[name]
    instructions = read_rows(paths.split(this.split), Instruction)
    responses = read_rows(paths.responses(name), Response)
    battles = read_battle_results(paths.battles(name))
    samples = read_samples(name, params, paths)
    rules, sources = rules_of(name, params), sources_of(name, params, paths)
    curated = select_rows(name, this, instructions, responses, battles, rules, samples, sources)
    curated = _with_rationales(curated, iter_rows(paths.battles(name), Battle))
    earlier_sft = read_rows(paths.sft(this.adds_to), SftRow)
    earlier_pairs = read_rows(paths.preferences(this.adds_to), PreferenceRow)
    write_rows(paths.sft(name), [*earlier_sft, *curated.sft])
    write_rows(paths.preferences(name), [*earlier_pairs, *curated.preferences])
    rows: list[SftRow | PreferenceRow] = [*curated.sft, *curated.preferences]
    accumulated = len(earlier_sft) + len(earlier_pairs)
    card = data_card(name, this, rows, curated.outcomes, battles, accumulated, samples.scores)
    if this.target != NONE and not this.online:
        card |= _chosen_how(curated, rules)
    write_json(paths.card(name), card)
    return card


def rules_of(name: str, params: Params) -> Rules:
    """Return the selection rules of a round."""
    own = params.dataset
    return Rules(
        params.rounds[name].threshold,
        own.pairs,
        own.max_words,
        params.seed,
        own.max_rows,
        own.opponents,
        own.strategy,
        own.answers,
        own.budget,
    )


def sources_of(name: str, params: Params, paths: Paths) -> StrategySources:
    """Return what a round's strategy reads besides its rows."""
    target = params.rounds[name].target
    return StrategySources(
        seed=params.seed,
        vectors=paths.vectors,
        model=None if target == NONE else paths.model(target),
        trust_remote_code=params.weights.trust_remote_code,
    )


def _chosen_how(curated: SelectedRows, rules: Rules) -> dict[str, Any]:
    """Return what the card says of another strategy, of named answers and of a budget; nothing without these."""
    if (rules.strategy, rules.answers, rules.budget) == ("battles", WINNER, 0):
        return {}
    how = {"strategy": rules.strategy, "answers": rules.answers, "wanted": curated.wanted, "seed": rules.seed}
    return {"selection": how}


def _with_rationales(curated: SelectedRows, battles: Iterable[Battle]) -> SelectedRows:
    """Return rows that were selected from results, each with the rationales of its battle."""
    rows: list[SftRow | PreferenceRow] = [*curated.sft, *curated.preferences]
    wanted = {_sides(row.provenance) for row in rows}
    said = {
        key: battle.rationales
        for battle in battles
        if (key := (battle.instruction_id, frozenset((battle.a, battle.b)))) in wanted
    }

    def full(row: AnyRow) -> AnyRow:
        found = said.get(_sides(row.provenance))
        if found is None:  # a label, or a row of samples
            return row
        return row.model_copy(update={"provenance": row.provenance.model_copy(update={"rationales": found})})

    return curated._replace(
        sft=[full(r) for r in curated.sft], preferences=[full(r) for r in curated.preferences]
    )


def _sides(provenance: Provenance) -> tuple[str, frozenset[str]]:
    return provenance.instruction_id, frozenset((provenance.winner, provenance.loser))
