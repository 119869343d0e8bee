"""The `dataset` stage: turn a round's battles into training rows with provenance, and write a data card."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from arena_learning.core import Paths, write_json
from arena_learning.dataset.card import data_card
from arena_learning.dataset.samples import choose_best_sample, choose_sample_pair, sample_provenance
from arena_learning.dataset.select import Choice, Rules, choose_label, choose_pair, reason_unfit
from arena_learning.params import NONE, Params, Round
from arena_learning.pool import seeded_rank
from arena_learning.schema import (
    AnyBattle,
    Battle,
    Instruction,
    PreferenceRow,
    Provenance,
    Response,
    SampleScore,
    SftRow,
    Turn,
    iter_rows,
    read_battle_results,
    read_rows,
    write_rows,
)

AnyRow = TypeVar("AnyRow", SftRow, PreferenceRow)


class SelectedRows(NamedTuple):
    """A round's new rows (one of the two lists is empty), and the outcome of every instruction."""

    sft: list[SftRow]
    preferences: list[PreferenceRow]
    outcomes: dict[str, str]


class RoundSamples(NamedTuple):
    """The target's samples in a round that learns from them, and their scores; both empty in others."""

    responses: Sequence[Response] = ()
    scores: Sequence[SampleScore] = ()


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
    curated = select_rows(name, this, instructions, responses, battles, rules_of(name, params), samples)
    curated = _with_rationales(curated, iter_rows(paths.battles(name), Battle))
    earlier_sft = read_rows(paths.sft(this.adds_to), SftRow)
    earlier_pairs = read_rows(paths.preferences(this.adds_to), PreferenceRow)
    write_rows(paths.sft(name), [*earlier_sft, *curated.sft])
    write_rows(paths.preferences(name), [*earlier_pairs, *curated.preferences])
    rows: list[SftRow | PreferenceRow] = [*curated.sft, *curated.preferences]
    accumulated = len(earlier_sft) + len(earlier_pairs)
    card = data_card(name, this, rows, curated.outcomes, battles, accumulated, samples.scores)
    write_json(paths.card(name), card)
    return card


def rules_of(name: str, params: Params) -> Rules:
    """Return the selection rules of a round."""
    own = params.dataset
    return Rules(
        params.rounds[name].threshold, own.pairs, own.max_words, params.seed, own.max_rows, own.opponents
    )


def select_rows(
    name: str,
    this: Round,
    instructions: Sequence[Instruction],
    responses: Sequence[Response],
    battles: Sequence[AnyBattle],
    rules: Rules,
    samples: RoundSamples = RoundSamples(),  # noqa: B008 - frozen
) -> SelectedRows:
    """Select what to learn from each instruction of a round."""
    if this.method == "rft" or (this.method != "sft" and rules.pairs == "samples"):
        return _widest(_from_samples(name, this, instructions, samples, rules), rules)
    by_instruction: dict[str, list[AnyBattle]] = defaultdict(list)
    target = None if this.target == NONE else this.target
    for battle in battles:
        if rules.admits(battle, target):
            by_instruction[battle.instruction_id].append(battle)
    answers: dict[str, dict[str, Response]] = defaultdict(dict)
    for response in responses:
        answers[response.instruction_id][response.contestant] = response
    curated = SelectedRows([], [], {})
    for instruction in sorted(instructions, key=lambda i: i.id):
        if this.online:
            curated.outcomes[instruction.id] = "answered in training"
            continue
        own = answers[instruction.id]
        if target is None and this.method == "sft":
            outcome = _labelled(name, this, instruction, own, rules, curated)
        elif target is not None and this.method == "sft":
            choice = choose_label(by_instruction[instruction.id], target, own, rules)
            outcome = _keep(name, instruction, own, choice, rules, curated, pair=False)
        else:
            choice = choose_pair(by_instruction[instruction.id], target, own, rules)
            outcome = _keep(name, instruction, own, choice, rules, curated, pair=True)
        curated.outcomes[instruction.id] = outcome
    return _widest(curated, rules)


def _from_samples(
    name: str, this: Round, instructions: Sequence[Instruction], samples: RoundSamples, rules: Rules
) -> SelectedRows:
    """Learn from the target's own samples: the best of each instruction, or the best against the worst."""
    scores: dict[str, list[SampleScore]] = defaultdict(list)
    answers: dict[str, dict[int, Response]] = defaultdict(dict)
    for score in samples.scores:
        scores[score.instruction_id].append(score)
    for response in samples.responses:
        answers[response.instruction_id][response.sample] = response
    found = SelectedRows([], [], {})
    choose = choose_best_sample if this.supervised else choose_sample_pair
    for instruction in sorted(instructions, key=lambda i: i.id):
        own = answers[instruction.id]
        choice = choose(scores[instruction.id], own, rules)
        found.outcomes[instruction.id] = choice if isinstance(choice, str) else "row"
        if isinstance(choice, str):
            continue
        provenance = sample_provenance(name, instruction, this.target, choice, rules.threshold)
        best = own[choice.best.sample]
        if choice.worst is None:
            found.sft.append(_sft_row(instruction, best, provenance))
        else:
            found.preferences.append(_pair(instruction, best, own[choice.worst.sample], provenance))
    return found


def _widest(curated: SelectedRows, rules: Rules) -> SelectedRows:
    """Keep at most ``rules.max_rows`` rows, those with the widest gaps, in their order."""
    rows: list[SftRow | PreferenceRow] = [*curated.sft, *curated.preferences]
    if not rules.max_rows or len(rows) <= rules.max_rows:
        return curated

    def rank(row: SftRow | PreferenceRow) -> tuple[float, str]:
        seen = row.provenance
        return -(seen.gap or 0.0), seeded_rank(rules.seed, "rows", seen.instruction_id)

    kept = {row.provenance.instruction_id for row in sorted(rows, key=rank)[: rules.max_rows]}
    outcomes = {
        i: "beyond the most rows" if outcome == "row" and i not in kept else outcome
        for i, outcome in curated.outcomes.items()
    }
    return SelectedRows(
        [row for row in curated.sft if row.provenance.instruction_id in kept],
        [row for row in curated.preferences if row.provenance.instruction_id in kept],
        outcomes,
    )


def _labelled(
    name: str,
    this: Round,
    instruction: Instruction,
    own: Mapping[str, Response],
    rules: Rules,
    curated: SelectedRows,
) -> str:
    """Add a recorded contestant's answer as a row, without a battle (the paper's SFT-I0)."""
    response = own.get(this.labels)
    if response is None:
        return "no label"
    if problem := reason_unfit(response, rules.max_words):
        return problem.replace("winner's answer", "label")
    provenance = Provenance(
        round=name,
        instruction_id=instruction.id,
        category=instruction.category,
        winner=this.labels,
        loser="",
        threshold=this.threshold,
    )
    curated.sft.append(_sft_row(instruction, response, provenance))
    return "row"


def _keep(
    name: str,
    instruction: Instruction,
    own: Mapping[str, Response],
    choice: Choice | str,
    rules: Rules,
    curated: SelectedRows,
    *,
    pair: bool,
) -> str:
    if isinstance(choice, str):
        return choice
    winner, loser = own[choice.winner], own[choice.loser]
    provenance = _provenance(name, choice, rules.threshold)
    if pair:
        curated.preferences.append(_pair(instruction, winner, loser, provenance))
    else:
        curated.sft.append(_sft_row(instruction, winner, provenance))
    return "row"


def _sft_row(instruction: Instruction, learnt: Response, provenance: Provenance) -> SftRow:
    return SftRow(prompt=instruction.turns, completion=_said(learnt), provenance=provenance)


def _pair(
    instruction: Instruction, chosen: Response, rejected: Response, provenance: Provenance
) -> PreferenceRow:
    return PreferenceRow(
        prompt=instruction.turns,
        chosen=_said(chosen),
        rejected=_said(rejected),
        provenance=provenance,
        rejected_cut_off=rejected.finish_reason == "length",
    )


def _provenance(name: str, choice: Choice, threshold: float) -> Provenance:
    battle = choice.battle
    scores = {battle.a: battle.score_a, battle.b: battle.score_b}
    return Provenance(
        round=name,
        instruction_id=battle.instruction_id,
        category=battle.category,
        winner=choice.winner,
        loser=choice.loser,
        score_winner=scores[choice.winner],
        score_loser=scores[choice.loser],
        gap=battle.gap,
        threshold=threshold,
        orders_agree=battle.orders_agree,
        judge=battle.judge,
        rationales=battle.rationales if isinstance(battle, Battle) else (),
    )


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

    return SelectedRows(
        [full(r) for r in curated.sft], [full(r) for r in curated.preferences], curated.outcomes
    )


def _sides(provenance: Provenance) -> tuple[str, frozenset[str]]:
    return provenance.instruction_id, frozenset((provenance.winner, provenance.loser))


def _said(response: Response) -> tuple[Turn, ...]:
    return (Turn(role="assistant", content=response.text.strip()),)
