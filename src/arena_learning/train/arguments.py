"""Arguments that all trainers share: the hyper-parameters under TRL's names, and defaults that this project changes."""

from __future__ import annotations

import math
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from arena_learning.core import ArenaError
from arena_learning.train import processes

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from arena_learning.params import Footprint, Optimiser, Train

A = TypeVar("A", bound="TrainingArguments")
MODULES = {"bitsandbytes": "bitsandbytes", "liger-kernel": "liger_kernel", "flash-attn": "flash_attn"}
OPTIMISERS = {
    # The fused optimiser step reads and writes each weight once: a third of the default one's time on a CPU.
    "adamw": "adamw_torch_fused",
    "adamw_8bit": "adamw_bnb_8bit",
    "paged_adamw": "paged_adamw_32bit",
    "paged_adamw_8bit": "paged_adamw_8bit",
}
EMULATED = "train.precision is bf16, which this machine only emulates: training takes up to hundreds of times as long"
CURVE_POINTS = 200  # a long training logs a mean over several steps


class TrainingPlan(NamedTuple):
    """Steps of a training.

    Attributes:
        device_batch: rows in a batch on a device.
        accumulation: batches that each process accumulates in a step.
        steps: number of steps.
        processes: processes that share a step.
        one_batch: rows in a batch if one process trained; 0: ``device_batch``.
        one_accumulation: batches in a step if one process trained; 0: ``accumulation``.
    """

    device_batch: int
    accumulation: int
    steps: int
    processes: int = 1
    one_batch: int = 0
    one_accumulation: int = 0

    @property
    def group(self) -> int:
        """Rows in a batch if one process trained."""
        return self.one_batch or self.device_batch

    @property
    def step_rows(self) -> int:
        """Rows in a step, of all processes together."""
        return self.group * (self.one_accumulation or self.accumulation)

    def shared(self, processes: int) -> TrainingPlan:
        """Return the plan of the same steps for several processes."""
        if processes == 1:
            return self
        own, rows = self.device_batch, self.step_rows
        sizes = [
            size for size in range(own, 0, -1) if own % size == 0 and size <= math.ceil(rows / processes)
        ]
        size = next((size for size in sizes if (rows // size) % processes == 0), sizes[0])
        batches = math.ceil(rows // size / processes)
        return TrainingPlan(size, batches, self.steps, processes, own, self.accumulation)


def plan_training(settings: Optimiser, rows: int) -> TrainingPlan:
    """Return the steps for ``rows`` rows; a batch is never larger than the number of rows.

    Several processes take the same steps: a step has the same rows, whoever reads them.
    """
    batch = min(settings.batch_size, rows)
    device_batch = min(settings.device_batch_size, batch)
    accumulation = math.ceil(batch / device_batch)
    batches = math.ceil(rows / device_batch)
    steps = math.ceil(math.ceil(batches / accumulation) * settings.epochs)
    return TrainingPlan(device_batch, accumulation, steps).shared(processes.count())


def whole_batch(method: str, batch_size: int, prompts: int) -> int:
    """Return the prompts in a batch: no more than there are, and as many for each process.

    Raises:
        ArenaError: there are fewer prompts than processes.
    """
    number = processes.count()
    if prompts < number:
        raise ArenaError(
            f"{prompts} prompts cannot be divided among {number} processes",
            where=f"train.{method}.launch",
            hint="use fewer processes or more instructions",
        )
    return min(batch_size, prompts) // number * number


def warmup_steps(ratio: float, steps: int) -> int:
    """Return the warm-up steps; a single one becomes 0, because the first step has a rate of 0 and would be wasted."""
    rising = math.floor(ratio * steps)
    return rising if rising > 1 else 0


def check_footprint(place: str, settings: Footprint) -> None:
    """Check that what the settings need is installed.

    Args:
        place: the settings' key, such as ``train.sft``.
        settings: of a method.

    Raises:
        ArenaError: a package is missing.
    """
    attention = settings.attention.startswith("flash")
    for key, value, needed, package in (
        ("optimiser", settings.optimiser, settings.optimiser != "adamw", "bitsandbytes"),
        ("kernels", settings.kernels, settings.kernels == "liger", "liger-kernel"),
        ("attention", settings.attention, attention, "flash-attn"),
    ):
        if needed and find_spec(MODULES[package]) is None:
            default = type(settings).model_fields[key].default
            raise ArenaError(
                f"{value} needs the package {package}, which is not installed",
                where=f"{place}.{key}",
                hint=f"pip install {package}, or set it to {default}",
            )


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


def choose_precision(train: Train) -> Literal["fp32", "bf16"]:
    """Return what ``train.precision`` stands for here: ``auto`` is bf16 where the device computes in it, else fp32."""
    if train.precision == "auto":
        return "bf16" if computes_bf16(choose_device(train)) else "fp32"
    return train.precision


def computes_bf16(device: str) -> bool:
    """Return whether a device (``cpu`` or ``cuda``) multiplies in bf16 itself; emulated, it is slower than fp32."""
    import torch

    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


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
        "optim": OPTIMISERS[settings.optimiser],
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "bf16": train.precision == "bf16",
        "use_cpu": choose_device(train) == "cpu",
        _checkpointing(): settings.activation_checkpointing,  # TRL's default costs a second forward pass
        "use_liger_kernel": settings.kernels == "liger",
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
