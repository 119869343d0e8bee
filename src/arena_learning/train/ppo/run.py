"""PPO: the start answers the pairs' prompts, the reward model scores, a value model predicts the score.

What is drawn at an update depends on the seed and the update's number alone, so a checkpoint holds weights, optimisers
and schedules, and a training that goes on from one ends as an undisturbed one.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from arena_learning.train.arguments import choose_device, warmup_steps, whole_batch
from arena_learning.train.checkpoint import CheckpointClock
from arena_learning.train.encode import Encoded
from arena_learning.train.load import load_policy, load_scorer, without_sampling_defaults
from arena_learning.train.loop import Job, Trained, check_finite
from arena_learning.train.lora import lora_config, merged
from arena_learning.train.ppo.models import Policy, Scorer
from arena_learning.train.ppo.state import load_state, save_state
from arena_learning.train.ppo.trainer import Frozen, Learner, Trainer, UpdateRules
from arena_learning.train.reward import TrainedReward
from arena_learning.train.rollout import ROLLOUT, Sample, answer, drawn_numbers, prompts_of

if TYPE_CHECKING:
    from accelerate import Accelerator
    from transformers import PreTrainedModel

    from arena_learning.params import Ppo


def train_ppo(job: Job, settings: Ppo, encoded: Encoded, reward: TrainedReward) -> Trained:
    """Train the start with PPO on encoded prompts, from a checkpoint if there is one.

    Raises:
        ArenaError: a loss is no longer a number.
    """
    from transformers import set_seed

    prompts = [row["input_ids"] for row in encoded.rows]
    batch = whole_batch("ppo", settings.batch_size, len(prompts))
    steps = math.ceil(len(prompts) * settings.epochs / batch)
    folder, resume = job.open_checkpoints("ppo", settings)
    set_seed(job.seed)  # adapters are drawn at random
    accelerator = make_accelerator(job)
    policy = Policy(_policy_model(job, settings), settings.temperature, job.start.pad, _head(job, settings))
    trainer = make_trainer(job, settings, policy, reward.folder, accelerator, steps)
    done, points = load_state(resume, trainer.learners) if resume else (0, [])
    began = time.monotonic()
    clock = CheckpointClock(job.train.checkpoint_minutes)
    label = f"ppo (from step {done})" if done else "ppo"
    with job.progress(label, steps - done, "steps") as line:
        for update in range(done, steps):
            chosen = prompts_of(update, batch, len(prompts), job.seed)
            samples = _sample(job, settings, policy.model, accelerator, [prompts[n] for n in chosen], update)
            point = trainer.update(samples)
            points.append({"step": update + 1.0, **point, "episode": float((update + 1) * batch)})
            check_finite(points[-1], "ppo")
            if update + 1 < steps and clock.due():
                save_state(folder, update + 1, points, trainer.learners, accelerator)
                clock.stop(update + 1, steps)
            line.advance(1, f"loss {point['loss']:.4f}")
    seconds = time.monotonic() - began
    accelerator.free_memory()
    return Trained(merged(policy.model), tuple(points), steps, seconds, done)


def make_accelerator(job: Job) -> Accelerator:
    """Return an accelerator of the training's precision and device, whatever an earlier phase has set.

    accelerate keeps one state for a whole process and refuses another precision.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    precision = "bf16" if job.train.precision == "bf16" else "no"
    return Accelerator(mixed_precision=precision, cpu=choose_device(job.train) == "cpu")


def make_trainer(
    job: Job, settings: Ppo, policy: Policy, reward: Path, accelerator: Accelerator, steps: int
) -> Trainer:
    """Return the trainer of ``policy``, its value model and its reward model (in the folder ``reward``)."""
    modules: dict[str, nn.Module] = {"policy": policy}
    scorer = load_scorer(job.start, reward, job.seed, settings).to(accelerator.device).eval()
    frozen_reward = Frozen(Scorer(scorer.requires_grad_(False)))
    if settings.value == "model" and settings.lora_rank:
        # The value model starts as the reward model: with adapters, the weights beneath them are shared.
        head = copy.deepcopy(scorer.score)
        modules["value"] = Scorer(_with_adapters(scorer, settings))
        frozen_reward = Frozen(Scorer(scorer, head), lambda: without_adapters(scorer))
    elif settings.value == "model":
        modules["value"] = Scorer(load_scorer(job.start, reward, job.seed, settings))
    if settings.lora_rank:
        reference = Frozen(policy, lambda: without_adapters(policy))
    else:
        start = load_policy(job.start, settings).to(accelerator.device).requires_grad_(False)
        reference = Frozen(Policy(start, settings.temperature, job.start.pad).eval())
    rules = UpdateRules(
        kl=settings.kl,
        missing_eos_penalty=settings.missing_eos_penalty,
        passes=settings.ppo_epochs,
        rows=settings.device_batch_size,
    )
    learners = [_learner(name, module, settings, accelerator, steps) for name, module in modules.items()]
    return Trainer(accelerator, learners, reference, frozen_reward, rules)


def _learner(name: str, module: nn.Module, settings: Ppo, accelerator: Accelerator, steps: int) -> Learner:
    from transformers import get_linear_schedule_with_warmup

    # Fused: each weight is read and written once, and nothing of a model's size is held beside the moments.
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = make_optimizer(trained, settings)
    schedule = get_linear_schedule_with_warmup(optimizer, warmup_steps(settings.warmup_ratio, steps), steps)
    # Without dropout: what is trained is then the distribution that is sampled.
    prepared, wrapped = accelerator.prepare(module.eval(), optimizer)
    return Learner(name, prepared, wrapped, schedule)


def make_optimizer(trained: list[nn.Parameter], settings: Ppo) -> torch.optim.Optimizer:
    """Return the optimiser that the settings name."""
    common: dict[str, Any] = {"lr": settings.learning_rate, "weight_decay": 0.0}
    if settings.optimiser == "adamw":
        return torch.optim.AdamW(trained, fused=True, **common)
    from importlib import import_module

    names = {
        "adamw_8bit": "AdamW8bit",
        "paged_adamw": "PagedAdamW32bit",
        "paged_adamw_8bit": "PagedAdamW8bit",
    }
    made: torch.optim.Optimizer = getattr(import_module("bitsandbytes.optim"), names[settings.optimiser])(
        trained, **common
    )
    return made


def _sample(
    job: Job,
    settings: Ppo,
    model: PreTrainedModel,
    accelerator: Accelerator,
    prompts: Sequence[list[int]],
    update: int,
) -> list[Sample]:
    """Return this process's share of an update's samples."""
    numbers = drawn_numbers(job.seed, update, len(prompts), settings.max_tokens)
    mine = slice(accelerator.process_index, None, accelerator.num_processes)
    with accelerator.autocast():
        return answer(
            model,
            prompts[mine],
            numbers[mine],
            temperature=settings.temperature,
            end=job.start.end_of_turn,
            pad=job.start.pad,
            rows=max(ROLLOUT, settings.device_batch_size),
        )


def _policy_model(job: Job, settings: Ppo) -> PreTrainedModel:
    """Return the start, with adapters if they are asked for."""
    model = without_sampling_defaults(load_policy(job.start, settings))
    config = lora_config(settings)
    if config is None:
        return model
    from peft import get_peft_model

    return get_peft_model(model, config)


def _head(job: Job, settings: Ppo) -> nn.Linear | None:
    """Return the policy's value head, if it is to have one; it says 0 until it is trained."""
    if settings.value == "model":
        return None
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(
        job.start.folder, local_files_only=True, trust_remote_code=job.start.trust_remote_code
    )
    head = nn.Linear(config.get_text_config().hidden_size, 1)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


def _with_adapters(scorer: PreTrainedModel, settings: Ppo) -> PreTrainedModel:
    """Return a reward model with adapters of its own and a score that is trained."""
    from peft import inject_adapter_in_model

    config = lora_config(settings, scorer=True)
    assert config is not None
    config.modules_to_save = None
    model = inject_adapter_in_model(config, scorer)
    model.score.requires_grad_(True)
    return model


@contextmanager
def without_adapters(model: nn.Module) -> Iterator[None]:
    """Switch a model's adapters off inside: it is then what it was before it had any."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)
