"""PPO: the start answers the pairs' prompts, the reward model scores, a value model predicts the score.

TRL's trainer cannot go on from a checkpoint: a killed PPO starts again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from arena_learning.train.arguments import TrainingPlan, common_arguments, on_one_gpu, plan_training
from arena_learning.train.encode import Encoded
from arena_learning.train.load import load_policy, load_scorer
from arena_learning.train.loop import Job, Trained, run_trainer
from arena_learning.train.lora import lora_config
from arena_learning.train.reward import TrainedReward

if TYPE_CHECKING:
    from transformers import PreTrainedModel, Trainer

    from arena_learning.params import Ppo

ROLLOUT = (
    8  # prompts answered and scored at once: bounds the logits that are held (each token's is the vocabulary)
)


def train_ppo(job: Job, settings: Ppo, encoded: Encoded, reward: TrainedReward) -> Trained:
    """Train the start with PPO on encoded prompts."""
    laid = plan_training(settings, len(encoded.rows))
    # A batch larger than the prompts there are is never full: the trainer would wait for it forever.
    fits = min(settings.batch_size, len(encoded.rows)) // laid.device_batch
    laid = laid._replace(accumulation=max(1, fits))
    folder, _ = job.open_checkpoints("ppo", settings)
    mark = folder / "started"
    if mark.is_file():
        sys.stderr.write("ppo: interrupted before; PPO cannot go on from a checkpoint and starts again\n")
    mark.touch()
    job.start.tokenizer.padding_side = "left"  # prompts of one batch end together
    with accelerator_precision(job.train.precision):
        trainer = _trainer(job, settings, encoded, reward, laid, folder)
    # By default the last batch of a pass over the prompts takes a step for every row of it, unaccumulated.
    trainer.accelerator.gradient_state.plugin_kwargs["sync_with_dataloader"] = False
    steps = int(trainer.args.num_total_batches)
    return run_trainer(trainer, "ppo", steps, job)


def _trainer(
    job: Job, settings: Ppo, encoded: Encoded, reward: TrainedReward, laid: TrainingPlan, folder: Path
) -> Trainer:
    from datasets import Dataset
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    shared = common_arguments(settings, job.train, laid, folder, job.seed) | {"save_strategy": "no"}
    return PPOTrainer(
        args=on_one_gpu(
            PPOConfig(
                **shared,
                num_ppo_epochs=settings.ppo_epochs,
                num_mini_batches=1,
                kl_coef=settings.kl,
                response_length=settings.max_tokens,
                temperature=settings.temperature,
                stop_token="eos",
                missing_eos_penalty=settings.missing_eos_penalty or None,
                local_rollout_forward_batch_size=min(ROLLOUT, laid.device_batch * laid.accumulation),
                num_sample_generations=0,
            )
        ),
        processing_class=job.start.tokenizer,
        model=_sampler(load_policy(job.start)),
        ref_model=None if settings.lora_rank else load_policy(job.start),
        reward_model=load_scorer(job.start, reward.folder, job.seed),
        value_model=_value_model(job, settings, reward),
        train_dataset=Dataset.from_list(encoded.rows),
        eval_dataset=Dataset.from_list(encoded.rows[:1]),  # TRL wants one; nothing is evaluated
        peft_config=lora_config(settings),
    )


@contextmanager
def accelerator_precision(precision: str) -> Iterator[None]:
    """Let what is made inside train in ``precision``: TRL's PPO makes an accelerator that reads no arguments.

    What an earlier phase has set is set aside: accelerate keeps one state for a whole process.
    """
    from accelerate.state import AcceleratorState

    name = "ACCELERATE_MIXED_PRECISION"
    before = os.environ.get(name)
    AcceleratorState._reset_state(reset_partial_state=False)
    os.environ[name] = "bf16" if precision == "bf16" else "no"
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def _sampler(model: PreTrainedModel) -> PreTrainedModel:
    """Clear the model's sampling defaults: a repetition penalty would shift PPO's probabilities."""
    from transformers import GenerationConfig

    own = model.generation_config
    model.generation_config = GenerationConfig(
        bos_token_id=own.bos_token_id,
        eos_token_id=own.eos_token_id,
        pad_token_id=own.pad_token_id,
        # A sampled pad is taken for the end; as the first token it makes the loss a mean over nothing.
        suppress_tokens=[own.pad_token_id],
    )
    return model


def _value_model(job: Job, settings: Ppo, reward: TrainedReward) -> PreTrainedModel:
    """Return the value model: the reward model, with adapters of its own where the policy has them."""
    model = load_scorer(job.start, reward.folder, job.seed)
    config = lora_config(settings, scorer=True)
    if config is not None:
        from peft import inject_adapter_in_model

        config.modules_to_save = None
        model = inject_adapter_in_model(config, model)
        model.score.weight.requires_grad_(True)
    return model
