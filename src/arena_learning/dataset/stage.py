"""The `dataset` stage: turn a round's battles into training rows with provenance, and write a data card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from arena_learning.core import Paths, words, write_json
from arena_learning.dataset.rows import RoundSamples, SelectedRows, select_rows
from arena_learning.dataset.select import Rules
from arena_learning.dataset.strategy import StrategySources
from arena_learning.params import NONE, WINNER, Params, Round
from arena_learning.schema import (
    Battle,
    Instruction,
    PreferenceRow,
    Response,
    SampleScore,
    SftRow,
    read_rows,
    write_rows,
)


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
    battles = read_rows(paths.battles(name), Battle)
    samples = read_samples(name, params, paths)
    rules, sources = rules_of(name, params), sources_of(name, params, paths)
    curated = select_rows(name, this, instructions, responses, battles, rules, samples, sources)
    earlier_sft = read_rows(paths.sft(this.adds_to), SftRow)
    earlier_pairs = read_rows(paths.preferences(this.adds_to), PreferenceRow)
    write_rows(paths.sft(name), [*earlier_sft, *curated.sft])
    write_rows(paths.preferences(name), [*earlier_pairs, *curated.preferences])
    card = _card(
        name, this, curated, battles, accumulated=len(earlier_sft) + len(earlier_pairs), scores=samples.scores
    )
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


def _card(
    name: str,
    this: Round,
    curated: SelectedRows,
    battles: Sequence[Battle],
    accumulated: int,
    scores: Sequence[SampleScore] = (),
) -> dict[str, Any]:
    rows: list[SftRow | PreferenceRow] = [*curated.sft, *curated.preferences]
    outcomes = Counter(curated.outcomes.values())
    new = outcomes.pop("row", 0)
    learnt = [row.completion if isinstance(row, SftRow) else row.chosen for row in rows]
    gaps = [row.provenance.gap for row in rows if row.provenance.gap is not None]
    chosen = Counter(row.provenance.winner for row in rows)
    unscored = sum(one.score is None for one in scores)
    counted = {"scored": len(scores) - unscored, "unscored": unscored}
    return {
        "round": name,
        "method": this.method,
        "threshold": this.threshold,
        "instructions": len(curated.outcomes),
        "rows_new": new,
        "rows_accumulated": accumulated,
        "rows": new + accumulated,
        "left_out": dict(sorted(outcomes.items())),
        "battles": dict(sorted(Counter(b.winner for b in battles).items())),
        **({"samples": counted} if scores else {}),
        "chosen_from": dict(sorted(chosen.items())),
        "target_chosen_share": chosen[this.target] / new if new else 0.0,
        "categories": dict(sorted(Counter(row.provenance.category for row in rows).items())),
        "mean_gap": fmean(gaps) if gaps else None,
        "mean_words_learnt": fmean(len(words(turns[0].content)) for turns in learnt) if learnt else None,
        "mean_words_rejected": (
            fmean(len(words(row.rejected[0].content)) for row in curated.preferences)
            if curated.preferences
            else None
        ),
        "orders_disagree": sum(row.provenance.orders_agree is False for row in rows),
    }
