"""A round's data card: where its rows come from, and what became of every instruction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from arena_learning.core import words
from arena_learning.params import Round
from arena_learning.schema import AnyBattle, PreferenceRow, SampleScore, SftRow


def data_card(
    name: str,
    this: Round,
    rows: Sequence[SftRow | PreferenceRow],
    outcome_of: Mapping[str, str],
    battles: Sequence[AnyBattle],
    accumulated: int,
    scores: Sequence[SampleScore] = (),
) -> dict[str, Any]:
    """Return the card of a round.

    Args:
        name: the round.
        this: its parameters.
        rows: its new rows.
        outcome_of: ``row``, or why there is none, by instruction.
        battles: all battles of the round.
        accumulated: number of rows of the round that it continues.
        scores: of the target's samples.
    """
    outcomes = Counter(outcome_of.values())
    new = outcomes.pop("row", 0)
    learnt = [row.completion if isinstance(row, SftRow) else row.chosen for row in rows]
    pairs = [row for row in rows if isinstance(row, PreferenceRow)]
    gaps = [row.provenance.gap for row in rows if row.provenance.gap is not None]
    chosen = Counter(row.provenance.winner for row in rows)
    unscored = sum(one.score is None for one in scores)
    counted = {"scored": len(scores) - unscored, "unscored": unscored}
    return {
        "round": name,
        "method": this.method,
        "threshold": this.threshold,
        "instructions": len(outcome_of),
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
            fmean(len(words(row.rejected[0].content)) for row in pairs) if pairs else None
        ),
        "orders_disagree": sum(row.provenance.orders_agree is False for row in rows),
    }
