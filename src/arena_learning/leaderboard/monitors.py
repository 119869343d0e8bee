"""Monitors: signs that a round goes wrong although its rating may still rise.

They are computed only here; the leaderboard and MLflow show them. docs/guide/results.md says when to look closer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from arena_learning.leaderboard.round_files import (
    Document,
    RoundFiles,
    mapping_at,
    number_at,
    phases,
    training_curve,
)
from arena_learning.params import NONE, Params
from arena_learning.schema import AnyBattle

_BY_REWARD = ("ppo", "rloo", "grpo")  # phases that have a reward
AGREEMENT = "agreement_"  # followed by the name of the judge that is compared with the first one
Monitors = dict[str, float | None]
Arena = Mapping[str, Sequence[AnyBattle]]


def all_monitors(
    rounds: Mapping[str, RoundFiles], answers: Document, arena: Arena, anchor: str
) -> list[dict[str, str | float | None]]:
    """Return the monitors of the anchor, where the rounds start, and of each round with files.

    There is one record each, in order, with its name as ``model``. All have the same keys; what does not apply is None.

    Args:
        rounds: the rounds' files, in order.
        answers: the leaderboard's figures of each contestant's answers to the test set.
        arena: the test set's battles by judge, the first judge first.
        anchor: the contestant whose rating is fixed.
    """
    found = {name: round_monitors(this, answers, arena) for name, this in rounds.items() if not this.empty}
    if anchor not in found:
        found = {anchor: answer_monitors(anchor, answers, arena), **found}
    names = dict.fromkeys(key for one in found.values() for key in one)
    return [{"model": name, **{key: one.get(key) for key in names}} for name, one in found.items()]


def round_monitors(this: RoundFiles, answers: Document, arena: Arena) -> Monitors:
    """Return a round's monitors by name; one that does not apply is None (PPO's divergence after fine-tuning).

    Shares are from 0 to 1. The arguments are those of `all_monitors`.
    """
    points = [point for point in training_curve(this.train) if point.get("phase", "ppo") in _BY_REWARD]
    kl = [value for point in points if (value := number_at(point, "kl")) is not None]
    reward = [value for point in points if (value := number_at(point, "reward")) is not None]
    watched = [value for point in points if (value := number_at(point, "monitor")) is not None]
    scorer = next((phase for phase in phases(this.train) if phase.get("name") == "reward"), {})
    fought = this.this.target != NONE and bool(number_at(this.card, "rows_new"))
    return {
        **answer_monitors(this.name, answers, arena),
        "longer_wins": number_at(this.judge, "longer_wins"),
        "flip_rate": number_at(this.judge, "flip_rate"),
        "tie_rate": number_at(this.judge, "tie_rate"),
        "unscored_rate": number_at(this.judge, "unscored_rate"),
        "members_against": number_at(this.judge, "members_against"),
        "members_missing": number_at(this.judge, "members_missing"),
        "members_spread": number_at(this.judge, "members_spread"),
        "target_chosen_share": number_at(this.card, "target_chosen_share") if fought else None,
        "reward_model_accuracy": number_at(scorer, "figures", "held_out_accuracy"),
        "kl": kl[-1] if kl else None,
        "kl_max": max(kl) if kl else None,
        "reward": reward[-1] if reward else None,
        "reward_change": reward[-1] - reward[0] if reward else None,
        "monitor_change": watched[-1] - watched[0] if watched else None,
        "monitor_agreement": _mean(points, "monitor_agreement"),
    }


def answer_monitors(contestant: str, answers: Document, arena: Arena) -> Monitors:
    """Return the monitors of a contestant's answers to the test set, and how far the judges agree on them."""
    own = mapping_at(answers, contestant)
    count, cut_off = number_at(own, "answers"), number_at(own, "cut_off")
    return {
        "mean_words": number_at(own, "mean_words"),
        "cut_off_rate": cut_off / count if count and cut_off is not None else None,
        "repetition": number_at(own, "repetition"),
        **{f"{AGREEMENT}{judge}": share for judge, share in judge_agreement(contestant, arena).items()},
    }


def judge_agreement(contestant: str, arena: Arena) -> dict[str, float | None]:
    """Return the share of the first judge's decisions that each further judge makes too.

    It is over the contestant's battles that both judges decided; None if there are none.
    """
    winners = {
        judge: {
            (b.instruction_id, b.a, b.b): b.winner
            for b in battles
            if contestant in (b.a, b.b) and b.winner in ("a", "b")
        }
        for judge, battles in arena.items()
    }
    first, *others = winners or [""]
    shares: dict[str, float | None] = {}
    for judge in others:
        both = winners[first].keys() & winners[judge].keys()
        same = sum(winners[first][key] == winners[judge][key] for key in both)
        shares[judge] = same / len(both) if both else None
    return shares


def first_judge_first(found: Arena, params: Params) -> dict[str, Sequence[AnyBattle]]:
    """Return the battles by judge in the order of ``evaluate.judges``; the others are compared with the first."""
    return {j: found[j] for j in dict.fromkeys([*params.evaluate.judges, *found]) if j in found}


def _mean(points: Sequence[Document], key: str) -> float | None:
    """Return the mean of a curve's figure over the points that have it."""
    values = [value for point in points if (value := number_at(point, key)) is not None]
    return sum(values) / len(values) if values else None
