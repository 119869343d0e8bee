"""Warnings after a training that say what the user will notice and what to change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from arena_learning.train.encode import REPEATED
from arena_learning.train.measure import STILL
from arena_learning.train.report import Phase, WeightChange

if TYPE_CHECKING:
    from arena_learning.params import Optimiser

MANY_CUT = 0.1
FEW_ENDED = 0.1
SAVED = 0.9
MANY_UNSCORED = 0.1
MANY_ALIKE = 0.5
TREND = 0.5  # rank correlation with the step
_TRENDS = ("reward", "monitor")


def training_warnings(phases: Sequence[Phase], change: WeightChange, settings: Optimiser) -> list[str]:
    """Return the warnings about a finished training."""
    found = []
    if change.before_saving < STILL:
        found.append(
            f"the weights hardly moved (relative change {change.before_saving:.1e}): the new model will "
            "answer, and rate, as its start does; raise learning_rate or epochs"
        )
    elif change.after_saving < SAVED * change.before_saving:
        found.append(
            f"saving lost most of the training (relative change {change.before_saving:.1e} before, "
            f"{change.after_saving:.1e} after): weights must be saved in fp32"
        )
    for phase in phases:
        found += _rows(phase)
        found += _figures(phase)
    return found


def _rows(phase: Phase) -> list[str]:
    rows, found = phase.rows, []
    cut = sum(rows.cut.values())
    if rows.kept and cut > MANY_CUT * rows.kept:
        found.append(
            f"{phase.name}: {cut} of {rows.kept} rows were cut before the answer's end: the model may answer "
            "without ever ending; raise max_length or drop long answers (dataset.max_words)"
        )
    lost = {reason: count for reason, count in rows.dropped.items() if reason != REPEATED}
    if sum(lost.values()) * 2 > rows.given:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in lost.items())
        found.append(f"{phase.name}: only {rows.kept} of {rows.given} rows are trained on ({reasons})")
    return found


def _figures(phase: Phase) -> list[str]:
    found = []
    accuracy = phase.figures.get("held_out_accuracy")
    if accuracy is not None and accuracy <= 0.5:
        found.append(
            f"reward: no better than chance on {phase.rows.held_out} unseen pairs (accuracy {accuracy:.2f}): "
            "PPO will push the answers in no good direction; give it more pairs, or a higher learning_rate"
        )
    sampled = phase.figures.get("sampled", 0.0)
    if sampled and phase.figures.get("ended", 0.0) < FEW_ENDED * sampled:
        found.append(
            f"{phase.name}: {phase.figures['ended']:.0f} of {sampled:.0f} sampled answers ended within max_tokens: "
            "most rewards are those of half answers; raise max_tokens"
        )
    return found + _rewards(phase)


def _rewards(phase: Phase) -> list[str]:
    """Return the warnings of an online training."""
    figures, found = phase.figures, []
    sampled, unscored = figures.get("sampled", 0.0), figures.get("unscored", 0.0)
    if unscored > MANY_UNSCORED * sampled:
        found.append(
            f"{phase.name}: the judge gave no verdict on {unscored:.0f} of {sampled:.0f} sampled answers: they have no "
            "effect; check that the instructions have what it needs (rubric, reference), and what it replies"
        )
    if figures.get("groups_alike", 0.0) > MANY_ALIKE:
        found.append(
            f"{phase.name}: in {figures['groups_alike']:.0%} of the groups all answers got the same reward and have no "
            "effect; raise temperature or group, or use a judge with finer scores"
        )
    if figures.get("reward_trend", 0.0) > TREND and figures.get("monitor_trend", 0.0) < -TREND:
        went = {
            name: f"from {figures[f'{name}_first']:.2f} to {figures[f'{name}_last']:.2f}" for name in _TRENDS
        }
        found.append(
            f"{phase.name}: the reward rose {went['reward']} while the monitor fell {went['monitor']}: the reward's "
            "judge is being gamed; raise kl, lower epochs, or use another judge as the reward"
        )
    return found


def no_rows(where: str) -> str:
    """Return the warning of a round without training rows."""
    return (
        f"no rows to learn from ({where}): the model is a copy of its start and will rate as it does; "
        "lower the round's threshold, or give it more instructions"
    )
