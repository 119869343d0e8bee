"""RLOO and GRPO: the start answers each prompt several times, and a judge's word on the answers is the reward.

TRL's trainers sample, weigh and update; the prompts, the reading of what was sampled, and the rewards are this
project's own. Sampling is done in this process, by the weights as they are at that step.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from arena_learning.core import ArenaError
from arena_learning.schema import Response
from arena_learning.train.arguments import TrainingPlan, common_arguments, on_one_gpu
from arena_learning.train.checkpoint import json_digest
from arena_learning.train.encode import Encoded
from arena_learning.train.group_judge import GroupJudge, RewardInputs, rank_agreement
from arena_learning.train.load import load_policy
from arena_learning.train.loop import Job, Trained, run_trainer
from arena_learning.train.lora import lora_config

if TYPE_CHECKING:
    from transformers import Trainer

    from arena_learning.params import Rl

OnlineMethod = Literal["rloo", "grpo"]

# TRL's names for what a curve calls otherwise. Whatever is in neither is left out: clocks, and figures of figures.
CURVE = {
    "loss": "loss",
    "learning_rate": "learning_rate",
    "grad_norm": "grad_norm",
    "reward": "reward",
    "reward_std": "reward_spread",
    "frac_reward_zero_std": "groups_alike",
    "kl": "kl",
    "entropy": "entropy",
    "completions/mean_length": "length",
    "completions/clipped_ratio": "unended",
    "unscored": "unscored",
    "monitor": "monitor",
    "monitor_agreement": "monitor_agreement",
    "step": "step",
    "epoch": "epoch",
}


class OnlinePlan(NamedTuple):
    """How a training by rewards is laid out: prompts a step, and the steps with their batches."""

    prompts: int
    laid: TrainingPlan


class OnlineTrained(NamedTuple):
    """What a training by rewards leaves: as any other, its figures, and how many games were asked in this process."""

    trained: Trained
    figures: dict[str, float]
    judged: int


@dataclass
class JudgedReward:
    """The reward function of a training.

    Attributes:
        judge: whose word is the reward.
        monitor: who is watched.
        group: answers to each prompt.
        read: turns an instruction's id and the tokens that were sampled into a response.
    """

    judge: GroupJudge
    monitor: GroupJudge
    group: int
    read: Callable[[str, Sequence[int]], Response]

    def __call__(
        self,
        prompts: Sequence[str],
        completion_ids: Sequence[Sequence[int]],
        log: Callable[[str, float], None],
    ) -> list[float | None]:
        """Return the rewards of sampled answers, None where unscored, and log what the monitor says of them.

        Args:
            prompts: the instruction's id of each answer.
            completion_ids: what was sampled.
            log: takes a figure's name and its value of this step.

        Raises:
            ArenaError: a group's answers are not together, or a judge cannot be asked.
        """
        check_groups(prompts, self.group)
        answers = [self.read(prompt, ids) for prompt, ids in zip(prompts, completion_ids, strict=True)]
        groups = [answers[start : start + self.group] for start in range(0, len(answers), self.group)]
        rewards, watched = self.judge.rewards(groups), self.monitor.rewards(groups)
        seen = [score for scores in watched for score in scores if score is not None]
        flat = [reward for each in rewards for reward in each]
        log("unscored", flat.count(None) / len(flat))
        if seen:
            log("monitor", math.fsum(seen) / len(seen))
        agreement = rank_agreement(rewards, watched)
        if agreement is not None:
            log("monitor_agreement", agreement)
        return flat


def check_groups(prompts: Sequence[str], group: int) -> None:
    """Raise an `ArenaError` unless the answers to a prompt stand together, ``group`` at a time.

    A reward function sees the answers of its own process alone: a group that is spread over processes would be judged
    in parts, and compared with others.
    """
    parts = [prompts[start : start + group] for start in range(0, len(prompts), group)]
    if any(len(part) != group or len(set(part)) != 1 for part in parts):
        raise ArenaError(
            f"the answers to a prompt are not together ({len(prompts)} answers in groups of {group})",
            where="train",
            hint="let each process have whole groups: batch_size must be a multiple of the number of processes",
        )


def plan_online(settings: Rl, prompts: int) -> OnlinePlan:
    """Return how so many prompts are laid out: a step is a batch of prompts, each answered ``group`` times."""
    batch = min(settings.batch_size, prompts)
    answers = batch * settings.group
    device_batch = max(n for n in range(1, min(settings.device_batch_size, answers) + 1) if answers % n == 0)
    steps = max(1, math.ceil(settings.epochs * prompts / batch))
    return OnlinePlan(batch, TrainingPlan(device_batch, answers // device_batch, steps))


def prompt_order(prompts: int, plan: OnlinePlan, seed: int) -> list[int]:
    """Return which prompt is asked when: one seeded permutation behind the other, as many as the steps need.

    The order is laid down before the first step, so that a resumed training goes on with the same prompts.
    """
    import numpy as np

    wanted = plan.prompts * plan.laid.steps
    random = np.random.default_rng(seed)
    passes = [random.permutation(prompts) for _ in range(math.ceil(wanted / prompts))]
    return [int(place) for place in np.concatenate(passes)[:wanted]]


def games_needed(asked: Sequence[str], settings: Rl, judges: Sequence[GroupJudge]) -> list[int]:
    """Return how many games each judge may be asked at most, if nothing is remembered.

    Args:
        asked: the instruction's id of each group.
        settings: of the training.
        judges: who is asked.
    """
    return [sum(judge.games(name, settings.group) for name in asked) for judge in judges]


def check_games(method: str, settings: Rl, games: Sequence[int]) -> None:
    """Say what the judges will be asked, and stop where that is more than the ceiling.

    Raises:
        ArenaError: it is more.
    """
    told = f"at most {games[0]} games by {settings.judge} (reward) and {games[1]} by {settings.monitor} (monitor)"
    ceiling = settings.max_judge_calls
    sys.stderr.write(f"{method}: {told}; train.{method}.max_judge_calls is {ceiling or 'not set'}\n")
    if ceiling and sum(games) > ceiling:
        raise ArenaError(
            f"{method} could ask its judges {sum(games)} games ({told}), and the ceiling is {ceiling}",
            where=f"train.{method}.max_judge_calls",
            hint="raise it, or lower epochs, group, or whom an answer meets (against)",
        )


def train_online(
    job: Job, method: OnlineMethod, settings: Rl, encoded: Encoded, inputs: RewardInputs
) -> OnlineTrained:
    """Train the start on encoded instructions by a judge's word.

    Raises:
        ArenaError: the judges could be asked more than the ceiling, or cannot be asked.
    """
    plan = plan_online(settings, len(encoded.rows))
    order = prompt_order(len(encoded.rows), plan, job.seed)
    asked = [encoded.rows[place]["instruction"] for place in order]
    judge = GroupJudge(inputs.judge, inputs, settings.reward, settings.against)
    monitor = GroupJudge(inputs.monitor, inputs, "score", settings.against)
    check_games(method, settings, games_needed(asked, settings, (judge, monitor)))
    reward = JudgedReward(judge, monitor, settings.group, _reader(job, encoded))
    own = job._replace(inputs=json_digest([job.inputs, _told_apart(inputs)]))
    folder, resume = own.open_checkpoints(method, settings)
    trainer = _trainer(own, method, settings, plan, folder, asked, encoded, reward)
    trained = run_trainer(trainer, method, plan.laid.steps, own, resume)
    sampled = plan.prompts * settings.group * trained.steps
    return OnlineTrained(trained, online_figures(trained.curve, sampled), judge.judged + monitor.judged)


def online_figures(curve: Sequence[Mapping[str, float]], sampled: int) -> dict[str, float]:
    """Return counts over a curve, and how reward and monitor went: their trend is the rank correlation with the step.

    A point of the curve may stand for several steps, so counts are shares of what was ``sampled``.
    """
    figures = {"sampled": float(sampled)}
    for name, shown, sign in (("unended", "ended", -1), ("unscored", "unscored", 1)):
        share = _average(curve, name)
        if share is not None:
            figures[shown] = float(round(sampled * (share if sign > 0 else 1 - share)))
    for name in ("reward", "monitor"):
        values = [(point["step"], point[name]) for point in curve if name in point]
        if values:
            figures |= {f"{name}_first": values[0][1], f"{name}_last": values[-1][1]}
            figures[f"{name}_trend"] = _trend(values)
    for name in ("monitor_agreement", "groups_alike"):
        share = _average(curve, name)
        if share is not None:
            figures[name] = share
    return figures


def _average(curve: Sequence[Mapping[str, float]], name: str) -> float | None:
    values = [point[name] for point in curve if name in point]
    return math.fsum(values) / len(values) if values else None


def _trend(values: Sequence[tuple[float, float]]) -> float:
    from scipy.stats import spearmanr

    if len(values) < 3 or len({value for _, value in values}) == 1:
        return 0.0
    return float(spearmanr(*zip(*values, strict=True)).statistic)


def _told_apart(inputs: RewardInputs) -> list[Any]:
    """Return what the rewards depend on besides the instructions."""
    opponents = {name: [r.text for r in responses] for name, responses in sorted(inputs.opponents.items())}
    return [inputs.judge.fingerprint, inputs.monitor.fingerprint, inputs.disagree, opponents]


def _reader(job: Job, encoded: Encoded) -> Callable[[str, Sequence[int]], Response]:
    """Return what reads sampled tokens as an engine would."""
    chat, preamble = job.start.form.chat, job.start.form.preamble_ids
    stops = set(chat.stop_ids)
    lengths = {row["instruction"]: len(row["input_ids"]) for row in encoded.rows}

    def read(instruction_id: str, ids: Sequence[int]) -> Response:
        # The prompt ends behind the preamble, such as an empty thought; for the reader it is generated.
        said = chat.read([*preamble, *ids])
        return Response(
            instruction_id=instruction_id,
            contestant="sample",
            text=said.text,
            finish_reason="stop" if stops & set(ids) else "length",
            prompt_tokens=lengths[instruction_id],
            completion_tokens=len(ids),
        )

    return read


def _trainer(
    job: Job,
    method: OnlineMethod,
    settings: Rl,
    plan: OnlinePlan,
    folder: Path,
    asked: Sequence[str],
    encoded: Encoded,
    reward: JudgedReward,
) -> Trainer:
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

    # A sample that is unscored is counted and logged here; TRL would print the whole of it.
    logging.getLogger(f"trl.trainer.{method}_trainer").setLevel(logging.ERROR)
    config, trainer = {"rloo": (RLOOConfig, RLOOTrainer), "grpo": (GRPOConfig, GRPOTrainer)}[method]
    ids = {row["instruction"]: row["input_ids"] for row in encoded.rows}

    class JudgedTrainer(trainer):  # type: ignore[misc,valid-type]  # TRL is untyped here
        """TRL's trainer on prompts that are token ids already, logging what a curve shows."""

        def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
            return [ids[prompt] for prompt in prompts], None, {}

        def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
            super().log(logs, start_time)
            if "loss" in self.state.log_history[-1]:
                self.state.log_history[-1] = curve_entry(self.state.log_history[-1])

    def judged(
        prompts: list[str],
        completion_ids: list[list[int]],
        log_metric: Callable[[str, float], None],
        **_: object,
    ) -> list[float | None]:
        return reward(prompts, completion_ids, log_metric)

    return JudgedTrainer(
        model=load_policy(job.start),
        reward_funcs=judged,
        args=on_one_gpu(config(**_arguments(job, method, settings, plan, folder))),
        train_dataset=Dataset.from_list([{"prompt": name} for name in asked]),
        processing_class=job.start.tokenizer,
        peft_config=lora_config(settings),
    )


def _arguments(job: Job, method: str, settings: Rl, plan: OnlinePlan, folder: Path) -> dict[str, Any]:
    shared = common_arguments(settings, job.train, plan.laid, folder, job.seed)
    # What is logged is a mean since the last log, which a checkpoint does not hold: one is written where a log is.
    every = shared["logging_steps"]
    own = {"scale_rewards": settings.scale, "loss_type": settings.loss} if method == "grpo" else {}  # type: ignore[attr-defined]
    return {
        **shared,
        **own,
        "save_steps": math.ceil(shared["save_steps"] / every) * every,
        "num_train_epochs": 1,  # `prompt_order` has them all
        "shuffle_dataset": False,
        "num_generations": settings.group,
        "max_completion_length": settings.max_tokens,
        "temperature": settings.temperature,
        "beta": settings.kl,
        "trust_remote_code": job.start.trust_remote_code,
    }


def curve_entry(logged: Mapping[str, Any]) -> dict[str, float]:
    """Return what a curve shows of a trainer's log; a figure that no answer has given is left out."""
    return {CURVE[name]: value for name, value in logged.items() if name in CURVE and value is not None}
