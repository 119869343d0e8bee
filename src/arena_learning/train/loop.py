"""Run one of TRL's trainers: progress line, resuming, result."""

from __future__ import annotations

import contextlib
import gc
import math
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from arena_learning.core import ArenaError, Progress
from arena_learning.train import checkpoint
from arena_learning.train.callbacks import Watch, loss_curve
from arena_learning.train.load import Start
from arena_learning.train.lora import merged

if TYPE_CHECKING:
    from transformers import PreTrainedModel, Trainer

    from arena_learning.params import Optimiser, Train


class Job(NamedTuple):
    """The inputs of every phase of a training.

    Attributes:
        start: the model to start from.
        train: the parameters.
        seed: seed of everything random.
        checkpoints: the round's checkpoint folder; each phase has its own subfolder.
        progress: makes the progress line.
        inputs: digest of rows, start, seed and versions.
    """

    start: Start
    train: Train
    seed: int
    checkpoints: Path
    progress: Callable[..., Progress]
    inputs: str

    def open_checkpoints(self, phase: str, settings: Optimiser) -> tuple[Path, Path | None]:
        """Return the phase's checkpoint folder, and the checkpoint to resume from."""
        folder = self.checkpoints / phase
        keys = [self.inputs, phase, self.train.device, self.train.precision, settings.model_dump(mode="json")]
        return folder, checkpoint.open_checkpoints(folder, checkpoint.json_digest(keys))


class Trained(NamedTuple):
    """A trainer's result: the plain model, its curve, steps, seconds, and the step that it resumed from."""

    model: PreTrainedModel
    curve: tuple[dict[str, float], ...]
    steps: int
    seconds: float
    resumed_from: int


def run_trainer(
    trainer: Trainer,
    label: str,
    steps: int,
    job: Job,
    resume: Path | None = None,
    before_release: Callable[[], object] = lambda: None,
) -> Trained:
    """Train, from a checkpoint if there is one, and return the model with its adapters merged.

    ``before_release`` is called after the training, while the trainer still holds its models.

    Raises:
        ArenaError: the loss is NaN or infinite.
    """
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    resumed = int(resume.name.split("-")[1]) if resume else 0
    start = time.monotonic()
    named = f"{label} (from step {resumed})" if resumed else label
    with job.progress(named, steps - resumed, "steps") as line, open(os.devnull, "w") as void:
        trainer.add_callback(Watch(line))
        # PPO prints to standard output, and computes a variance over batches even where there is only one.
        with contextlib.redirect_stdout(void), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"var\(\): degrees of freedom", category=UserWarning)
            if resume:
                trainer.train(resume_from_checkpoint=str(resume))
            else:
                trainer.train()
    points = loss_curve(trainer.state.log_history)
    broken = next((point for point in points if not math.isfinite(point["loss"])), None)
    if broken:
        raise ArenaError(
            f"{label}: the loss at step {broken['step']:.0f} is {broken['loss']}: training has diverged",
            where="train",
            hint="lower learning_rate, or use precision: fp32",
        )
    before_release()
    model = merged(trainer.model.policy if label == "ppo" else trainer.model)
    done = Trained(model, points, int(trainer.state.global_step), time.monotonic() - start, resumed)
    release(trainer)
    return done


def release(trainer: Trainer) -> None:
    """Release gradients, optimiser and reference model, so that the next phase can use their memory."""
    for parameter in trainer.model.parameters():
        parameter.grad = None
    trainer.optimizer = trainer.lr_scheduler = None
    trainer.callback_handler.optimizer = trainer.callback_handler.lr_scheduler = None
    trainer.accelerator.free_memory()
    for name in ("ref_model", "reward_model", "value_model"):
        if hasattr(trainer, name):
            setattr(trainer, name, None)
    gc.collect()
