"""RLOO and GRPO with TRL's trainers: several answers are sampled for each prompt, and a judge rewards them.

TRL updates the weights. Prompts, sampling (as PPO's, see `train.rollout`) and rewards are the project's own.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from arena_learning.engines import ChatFormat
from arena_learning.judge import tie_margin
from arena_learning.schema import Response
from arena_learning.train.answer_head import answer_tokens_alone, has_answer_head
from arena_learning.train.arguments import common_arguments, on_one_gpu
from arena_learning.train.checkpoint import json_digest
from arena_learning.train.encode import Encoded
from arena_learning.train.load import load_policy, without_sampling_defaults
from arena_learning.train.loop import Job, Trained, run_trainer
from arena_learning.train.lora import lora_config
from arena_learning.train.online.curve import curve_entry, online_figures
from arena_learning.train.online.group_judge import GroupJudge, RewardInputs, rank_agreement
from arena_learning.train.online.plan import (
    OnlinePlan,
    check_games,
    check_groups,
    games_needed,
    plan_online,
    prompt_order,
)
from arena_learning.train.rollout import answer, drawn_numbers

if TYPE_CHECKING:
    from transformers import Trainer

    from arena_learning.params import Rl

OnlineMethod = Literal["rloo", "grpo"]
SAMPLED = 64  # answers sampled at once, where the device's batch is not larger


class OnlineTrained(NamedTuple):
    """Result of an online training: as of any other, its figures, and the number of games judged in this process."""

    trained: Trained
    figures: dict[str, float]
    judged: int


@dataclass
class JudgedReward:
    """The reward function of a training.

    Attributes:
        judge: its verdicts are the reward.
        monitor: its scores are logged.
        group: answers sampled for each prompt.
        read: makes a response of an instruction's id and the sampled tokens.
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
        """Return the reward of each answer (None: unscored) and log the monitor's scores.

        Args:
            prompts: the instruction's id of each answer.
            completion_ids: the sampled tokens of each answer.
            log: called with a figure's name and its value in this step.

        Raises:
            ArenaError: the answers of a group are not together, or a judge cannot be asked.
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


def train_online(
    job: Job, method: OnlineMethod, settings: Rl, encoded: Encoded, inputs: RewardInputs
) -> OnlineTrained:
    """Train the start on encoded instructions.

    Raises:
        ArenaError: the judges may need more games than the ceiling allows, or cannot be asked.
    """
    plan = plan_online(method, settings, len(encoded.rows))
    order = prompt_order([len(row["input_ids"]) for row in encoded.rows], plan, job.seed)
    asked = [encoded.rows[place]["instruction"] for place in order]
    judge = GroupJudge(inputs.judge, inputs, settings.reward, settings.against)
    monitor = GroupJudge(inputs.monitor, inputs, "score", settings.against)
    check_games(method, settings, games_needed(asked, settings, (judge, monitor)))
    lengths = {row["instruction"]: len(row["input_ids"]) for row in encoded.rows}
    reward = JudgedReward(judge, monitor, settings.group, sample_reader(job.start.form, lengths))
    own = job._replace(inputs=json_digest([job.inputs, _told_apart(inputs)]))
    # A training that stopped at the ceiling resumes when the ceiling is raised.
    folder, resume = own.open_checkpoints(method, settings.model_copy(update={"max_judge_calls": 0}))
    trainer = _trainer(own, method, settings, plan, folder, asked, encoded, reward)
    trained = run_trainer(trainer, method, plan.laid.steps, own, resume)
    sampled = plan.prompts * settings.group * trained.steps
    return OnlineTrained(trained, online_figures(trained.curve, sampled), judge.judged + monitor.judged)


def _told_apart(inputs: RewardInputs) -> list[Any]:
    """Return what the rewards depend on, besides the instructions."""
    opponents = {name: [r.text for r in responses] for name, responses in sorted(inputs.opponents.items())}
    judges = [[judge.fingerprint, tie_margin(judge)] for judge in (inputs.judge, inputs.monitor)]
    return [judges, inputs.disagree, opponents]


def sample_reader(form: ChatFormat, lengths: Mapping[str, int]) -> Callable[[str, Sequence[int]], Response]:
    """Return a function that reads sampled tokens as the engines do.

    Args:
        form: of the model that is trained.
        lengths: tokens of each prompt, by the instruction's id.
    """
    stops = set(form.chat.stop_ids)

    def read(instruction_id: str, ids: Sequence[int]) -> Response:
        # The prompt ends behind the preamble, such as an empty thought; for the reader it is generated.
        said = form.chat.read([*form.preamble_ids, *ids])
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
    import torch
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer
    from trl.trainer.utils import split_tensor_dict

    # Unscored samples are counted in the curve; TRL would print each of them.
    logging.getLogger(f"trl.trainer.{method}_trainer").setLevel(logging.ERROR)
    config, trainer = {"rloo": (RLOOConfig, RLOOTrainer), "grpo": (GRPOConfig, GRPOTrainer)}[method]
    ids = {row["instruction"]: row["input_ids"] for row in encoded.rows}
    # TRL's RLOO computes the probabilities of a step's samples once more, before the step's only update: they are those
    # that the update itself begins with. A KL penalty needs them earlier, for the rewards.
    computed_once = method == "rloo" and not settings.kl and has_answer_head()

    class JudgedTrainer(trainer):  # type: ignore[misc,valid-type]  # TRL is untyped here
        """TRL's trainer on prompts that are token ids, with samples and a log of the curve's figures of our own."""

        def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
            return [ids[prompt] for prompt in prompts], None, {}

        def _generate_single_turn(self, prompt_ids: list[list[int]], *_: object, **__: object) -> Any:
            completions = sample_groups(self, job, settings, prompt_ids)
            return (
                completions if method == "rloo" else (completions, None)
            )  # GRPO takes log-probabilities, too

        def _prepare_inputs(self, generation_batch: Any) -> Any:
            """Sample for a step at its first batch; TRL shuffles then, and the answers to a prompt are apart."""
            steps = self.args.steps_per_generation
            if self._step % steps == 0 or self._buffered_inputs is None:  # type: ignore[has-type]
                samples = self._generate_and_score_completions(generation_batch)
                self._buffered_inputs = split_tensor_dict(samples, steps)
            return self._buffered_inputs[self._step % steps]

        def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Any:
            self._inputs = inputs
            return super()._compute_loss(model, inputs)

        def _get_per_token_logps_and_entropies(
            self,
            model: Any,
            input_ids: Any,
            attention_mask: Any,
            logits_to_keep: int,
            *rest: Any,
            **given: Any,
        ) -> Any:
            if computed_once and not torch.is_grad_enabled():  # after sampling; the update takes its own
                return input_ids.new_zeros((len(input_ids), logits_to_keep), dtype=torch.float32), None, None
            found = super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, *rest, **given
            )
            if computed_once:
                self._inputs["old_logps"] = (found[0].detach() * self._inputs["completion_mask"]).sum(1)
            return found

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

    judged_trainer = JudgedTrainer(
        model=without_sampling_defaults(load_policy(job.start, settings)),
        reward_funcs=judged,
        args=on_one_gpu(config(**_arguments(job, method, settings, plan, folder))),
        train_dataset=Dataset.from_list([{"prompt": name} for name in asked]),
        processing_class=job.start.tokenizer,
        peft_config=lora_config(settings),
    )
    answer_tokens_alone(judged_trainer, settings.temperature)
    return judged_trainer


def sample_groups(trainer: Any, job: Job, settings: Rl, prompts: Sequence[list[int]]) -> list[list[int]]:
    """Return sampled token ids for prompts that come ``settings.group`` times each, side by side.

    What is sampled depends on the seed, the step and the prompt's place alone. In a group the prompt is read once. (TRL
    reads it for each answer, pads all prompts of a step to the longest, and draws from the global random state.)
    """
    import torch
    from trl.models import unwrap_model_for_generation

    accelerator = trainer.accelerator
    everyone = len(prompts) * accelerator.num_processes
    numbers = drawn_numbers(job.seed, int(trainer.state.global_step), everyone, settings.max_tokens)
    first = len(prompts) * accelerator.process_index
    with (
        unwrap_model_for_generation(trainer.model_wrapped, accelerator) as model,
        accelerator.autocast(),
        torch.no_grad(),
    ):
        samples = answer(
            model,
            prompts[:: settings.group],
            numbers[first : first + len(prompts)],
            temperature=settings.temperature,
            end=job.start.end_of_turn,
            pad=job.start.pad,
            rows=max(SAMPLED, settings.device_batch_size),
            copies=settings.group,
        )
    return [sample.response for sample in samples]


def _arguments(job: Job, method: str, settings: Rl, plan: OnlinePlan, folder: Path) -> dict[str, Any]:
    shared = common_arguments(settings, job.train, plan.laid, folder, job.seed)
    own = {"scale_rewards": settings.scale, "loss_type": settings.loss} if method == "grpo" else {}  # type: ignore[attr-defined]
    return {
        **shared,
        **own,
        "num_train_epochs": 1,  # `prompt_order` has them all
        "shuffle_dataset": False,
        "num_generations": settings.group,
        "max_completion_length": settings.max_tokens,
        "temperature": settings.temperature,
        "beta": settings.kl,
        "trust_remote_code": job.start.trust_remote_code,
    }
