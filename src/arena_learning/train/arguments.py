"""Arguments that all trainers share: the hyper-parameters under TRL's names, and defaults that this project changes."""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from arena_learning.core import ArenaError

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from arena_learning.params import Optimiser, Train

A = TypeVar("A", bound="TrainingArguments")
CURVE_POINTS = 200  # a long training logs a mean over several steps


class TrainingPlan(NamedTuple):
    """Steps of a training: rows per batch on the device, accumulated batches per step, and the number of steps."""

    device_batch: int
    accumulation: int
    steps: int


def plan_training(settings: Optimiser, rows: int) -> TrainingPlan:
    """Return the steps for ``rows`` rows; a batch is never larger than the number of rows."""
    batch = min(settings.batch_size, rows)
    device_batch = min(settings.device_batch_size, batch)
    accumulation = math.ceil(batch / device_batch)
    batches = math.ceil(rows / device_batch)
    return TrainingPlan(
        device_batch, accumulation, math.ceil(math.ceil(batches / accumulation) * settings.epochs)
    )


def warmup_steps(ratio: float, steps: int) -> int:
    """Return the warm-up steps; a single one becomes 0, because the first step has a rate of 0 and would be wasted."""
    rising = math.floor(ratio * steps)
    return rising if rising > 1 else 0


def choose_device(train: Train) -> str:
    """Return ``cpu`` or ``cuda``.

    Raises:
        ArenaError: a GPU is requested and there is none.
    """
    import torch

    there = torch.cuda.is_available()
    if train.device == "cuda" and not there:
        raise ArenaError(
            "torch finds no GPU that it can use", where="train.device", hint="set it to auto or cpu"
        )
    return "cuda" if there and train.device != "cpu" else "cpu"


def common_arguments(
    settings: Optimiser, train: Train, laid: TrainingPlan, folder: Path, seed: int
) -> dict[str, Any]:
    """Return the arguments of `transformers.TrainingArguments` that every trainer shares."""
    return {
        "output_dir": str(folder),
        "num_train_epochs": settings.epochs,
        "learning_rate": settings.learning_rate,
        "per_device_train_batch_size": laid.device_batch,
        "gradient_accumulation_steps": laid.accumulation,
        "warmup_steps": warmup_steps(settings.warmup_ratio, laid.steps),
        "lr_scheduler_type": "linear",
        # The fused optimiser step reads and writes each weight once: a third of the default one's time on a CPU.
        "optim": "adamw_torch_fused",
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "bf16": train.precision == "bf16",
        "use_cpu": choose_device(train) == "cpu",
        _checkpointing(): False,  # TRL's default costs a second forward pass
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": False,
        "seed": seed,
        "data_seed": seed,
        "logging_steps": max(1, laid.steps // CURVE_POINTS),
        "logging_nan_inf_filter": False,  # a loss of NaN is an error, not replaced by the mean of the others
        "save_strategy": "no",  # `callbacks.TimedCheckpoints` saves by the clock
        "save_total_limit": 1,
        "report_to": "none",
        "disable_tqdm": True,
    }


def _checkpointing() -> str:
    """Return what the installed transformers calls gradient checkpointing: a new name from 5.24 on.

    The old name would warn there; TRL's configs have both, because they extend `transformers.TrainingArguments`.
    """
    from transformers import TrainingArguments

    known = {field.name for field in fields(TrainingArguments)}
    return "activation_checkpointing" if "activation_checkpointing" in known else "gradient_checkpointing"


def on_one_gpu(arguments: A) -> A:
    """Return a trainer's arguments for a single device: with several GPUs, the first one.

    Otherwise transformers would split one process over all visible GPUs (`DataParallel`), which TRL does not support
    and which multiplies the batch size.
    """
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments
