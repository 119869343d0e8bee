"""The plan of an online training: steps, order of the prompts, and the number of games for the judges."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from arena_learning.core import ArenaError, logger
from arena_learning.train import processes
from arena_learning.train.arguments import TrainingPlan, whole_batch
from arena_learning.train.length_batches import LengthBatches
from arena_learning.train.online.group_judge import GroupJudge

if TYPE_CHECKING:
    from arena_learning.params import Rl


class OnlinePlan(NamedTuple):
    """The plan: prompts in a step, and the steps with their batches."""

    prompts: int
    laid: TrainingPlan


def check_groups(prompts: Sequence[str], group: int) -> None:
    """Raise an `ArenaError` unless the answers to each prompt are adjacent, ``group`` of them.

    A reward function receives the answers of its own process only. A group that is split over processes would be judged
    in parts.
    """
    parts = [prompts[start : start + group] for start in range(0, len(prompts), group)]
    if any(len(part) != group or len(set(part)) != 1 for part in parts):
        raise ArenaError(
            f"the answers to a prompt are not together ({len(prompts)} answers in groups of {group})",
            where="train",
            hint="give each process whole groups: what it samples at once must be a multiple of group",
        )


def plan_online(method: str, settings: Rl, prompts: int) -> OnlinePlan:
    """Return the plan for ``prompts`` prompts: a step is a batch of prompts, each answered ``group`` times.

    Of several processes, each has the whole groups of its share of the prompts.
    """
    batch = whole_batch(method, settings.batch_size, prompts)
    answers = batch * settings.group // processes.count()
    device_batch = max(n for n in range(1, min(settings.device_batch_size, answers) + 1) if answers % n == 0)
    steps = max(1, math.ceil(settings.epochs * prompts / batch))
    return OnlinePlan(batch, TrainingPlan(device_batch, answers // device_batch, steps))


def prompt_order(lengths: Sequence[int], plan: OnlinePlan, seed: int) -> list[int]:
    """Return the places of the prompts in the order of training: passes over all of them, each in its own order.

    Prompts of a step are of similar length, because the trainer pads all of a step to the longest. The order is fixed
    before the first step, so that a resumed training continues with the same prompts.

    Args:
        lengths: tokens of each prompt.
        plan: prompts in a step, and steps.
        seed: seed of the orders.
    """
    wanted = plan.prompts * plan.laid.steps
    passes = LengthBatches(lengths, plan.prompts, seed)
    order: list[int] = []
    for number in range(math.ceil(wanted / len(lengths))):
        passes.set_epoch(number)
        order.extend(passes)
    return order[:wanted]


def games_needed(asked: Sequence[str], settings: Rl, judges: Sequence[GroupJudge]) -> list[int]:
    """Return the most games that each judge may have to judge: none is in the store yet.

    Args:
        asked: the instruction's id of each group.
        settings: of the training.
        judges: the reward's judge and the monitor.
    """
    return [sum(judge.games(name, settings.group) for name in asked) for judge in judges]


def check_games(method: str, settings: Rl, games: Sequence[int]) -> None:
    """Print how many games the judges may have to judge.

    Raises:
        ArenaError: there are more than ``max_judge_calls``.
    """
    told = f"at most {games[0]} games by {settings.judge} (reward) and {games[1]} by {settings.monitor} (monitor)"
    ceiling = settings.max_judge_calls
    logger.info(f"{method}: {told}; train.{method}.max_judge_calls is {ceiling or 'not set'}")
    if ceiling and sum(games) > ceiling:
        raise ArenaError(
            f"{method} may need {sum(games)} judged games ({told}), and the ceiling is {ceiling}",
            where=f"train.{method}.max_judge_calls",
            hint="raise it, or lower epochs or group, or compare with fewer answers (against)",
        )
