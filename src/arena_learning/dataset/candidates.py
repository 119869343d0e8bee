"""The row that each instruction of a round would give: from its battles, from a label, or from the target's samples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from arena_learning.dataset.samples import choose_best_sample, choose_sample_pair, sample_provenance
from arena_learning.dataset.select import (
    Choice,
    Rules,
    choose_label,
    choose_opponent,
    choose_pair,
    reason_unfit,
)
from arena_learning.params import NONE, WINNER, Round
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
)


class RoundSamples(NamedTuple):
    """The target's samples in a round that learns from them, and their scores; both empty in others."""

    responses: Sequence[Response] = ()
    scores: Sequence[SampleScore] = ()


class Candidate(NamedTuple):
    """A row that may be learnt, and the gap of the battle that speaks for it."""

    row: SftRow | PreferenceRow
    gap: float


Candidates = dict[str, Candidate | str]  # by instruction: a row, or why there is none


class Material(NamedTuple):
    """What a round has to learn from, by instruction."""

    name: str
    this: Round
    instructions: list[Instruction]
    answers: Mapping[str, Mapping[str, Response]]
    battles: Mapping[str, list[AnyBattle]]
    sampled: Mapping[str, Mapping[int, Response]]
    scores: Mapping[str, list[SampleScore]]

    @property
    def target(self) -> str | None:
        """The contestant being trained; None in a round that learns labels."""
        return _target(self.this)


def _target(this: Round) -> str | None:
    """Return the contestant that a round trains; None where it learns labels."""
    return None if this.target == NONE else this.target


def material_of(
    name: str,
    this: Round,
    instructions: Sequence[Instruction],
    responses: Sequence[Response],
    battles: Sequence[AnyBattle],
    rules: Rules,
    samples: RoundSamples,
) -> Material:
    """Return what a round has to learn from, without the battles that the rules do not admit; see `select_rows`."""
    fought: dict[str, list[AnyBattle]] = defaultdict(list)
    for battle in battles:
        if rules.admits(battle, _target(this)):
            fought[battle.instruction_id].append(battle)
    answers: dict[str, dict[str, Response]] = defaultdict(dict)
    for response in responses:
        answers[response.instruction_id][response.contestant] = response
    sampled: dict[str, dict[int, Response]] = defaultdict(dict)
    for response in samples.responses:
        sampled[response.instruction_id][response.sample] = response
    scores: dict[str, list[SampleScore]] = defaultdict(list)
    for score in samples.scores:
        scores[score.instruction_id].append(score)
    ordered = sorted(instructions, key=lambda i: i.id)
    return Material(name, this, ordered, answers, fought, sampled, scores)


def candidates_of(given: Material, rules: Rules, *, lost_only: bool) -> Candidates:
    """Return each instruction's row, or why it has none.

    ``lost_only``: an SFT row needs a battle that the target lost by the threshold; else any instruction gives one.
    """
    found: Candidates = {}
    for one in given.instructions:
        if given.this.method == "rft" or (given.this.method != "sft" and rules.pairs == "samples"):
            found[one.id] = _of_samples(given, one, rules)
        elif given.this.method != "sft":
            choice = choose_pair(given.battles[one.id], given.target, given.answers[one.id], rules)
            found[one.id] = _of_pair(given, one, choice, rules)
        elif given.target is None:
            found[one.id] = _of_label(given, one, given.this.labels, given.this.threshold, rules)
        else:
            found[one.id] = _of_answer(given, one, given.target, rules, lost_only=lost_only)
    return found


def _of_samples(given: Material, one: Instruction, rules: Rules) -> Candidate | str:
    """Learn from the target's own samples: the best of an instruction, or the best against the worst."""
    own = given.sampled[one.id]
    choose = choose_best_sample if given.this.supervised else choose_sample_pair
    choice = choose(given.scores[one.id], own, rules)
    if isinstance(choice, str):
        return choice
    provenance = sample_provenance(given.name, one, given.this.target, choice, rules.threshold)
    best = own[choice.best.sample]
    if choice.worst is None:
        return Candidate(_sft_row(one, best, provenance), choice.gap)
    return Candidate(_pair(one, best, own[choice.worst.sample], provenance), choice.gap)


def _of_pair(given: Material, one: Instruction, choice: Choice | str, rules: Rules) -> Candidate | str:
    if isinstance(choice, str):
        return choice
    own = given.answers[one.id]
    provenance = _provenance(given.name, choice, rules.threshold)
    return Candidate(_pair(one, own[choice.winner], own[choice.loser], provenance), choice.margin)


def _of_answer(
    given: Material, one: Instruction, target: str, rules: Rules, *, lost_only: bool
) -> Candidate | str:
    """Learn an answer to an instruction: the best opponent's, or that of ``rules.answers``."""
    own, fought = given.answers[one.id], given.battles[one.id]
    if not lost_only and rules.answers != WINNER:
        return _of_label(given, one, rules.answers, rules.threshold, rules)
    choice = (choose_label if lost_only else choose_opponent)(fought, target, own, rules)
    if isinstance(choice, str):
        return choice
    if rules.answers != WINNER:
        label = _of_label(given, one, rules.answers, rules.threshold, rules)
        return label if isinstance(label, str) else label._replace(gap=choice.margin)
    provenance = _provenance(given.name, choice, rules.threshold)
    return Candidate(_sft_row(one, own[choice.winner], provenance), choice.margin)


def _of_label(
    given: Material, one: Instruction, labels: str, threshold: float, rules: Rules
) -> Candidate | str:
    """Learn a contestant's answer, however its battle ended; in the paper's SFT-I0 there is none."""
    response = given.answers[one.id].get(labels)
    if response is None:
        return "no label"
    if problem := reason_unfit(response, rules.max_words):
        return problem.replace("winner's answer", "label")
    for battle in given.battles[one.id]:
        if {battle.a, battle.b} == {labels, given.target} and battle.winner != "unscored":
            choice = Choice(labels, given.target or "", battle)
            return Candidate(
                _sft_row(one, response, _provenance(given.name, choice, threshold)), choice.margin
            )
    provenance = Provenance(
        round=given.name,
        instruction_id=one.id,
        category=one.category,
        winner=labels,
        loser="",
        threshold=threshold,
    )
    return Candidate(_sft_row(one, response, provenance), 0.0)


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
        gap=choice.margin,
        threshold=threshold,
        orders_agree=battle.orders_agree,
        judge=battle.judge,
        rationales=battle.rationales if isinstance(battle, Battle) else (),
    )


def _said(response: Response) -> tuple[Turn, ...]:
    return (Turn(role="assistant", content=response.text.strip()),)
