"""Run one of TRL's trainers: progress line, resuming, result."""

from __future__ import annotations

import gc
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from arena_learning.core import ArenaError, Progress
from arena_learning.params import Footprint
from arena_learning.train import checkpoint, processes
from arena_learning.train.callbacks import TimedCheckpoints, Watch, loss_curve
from arena_learning.train.load import Start, load_policy
from arena_learning.train.lora import merged
from arena_learning.train.measure import give_back_memory

if TYPE_CHECKING:
    from transformers import PreTrainedModel, Trainer

    from arena_learning.params import Optimiser, Train


STRATEGY = (
    "ACCELERATE_USE_FSDP",
    "ACCELERATE_USE_DEEPSPEED",
    "ACCELERATE_DEEPSPEED_ZERO_STAGE",
)  # of accelerate


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
        own = settings.learnt_by()
        keys: list[object] = [self.inputs, phase, self.train.device, self.train.precision, own]
        if processes.count() > 1:  # another number of processes has other shards and random states
            keys += [processes.count(), *(os.environ.get(name, "") for name in STRATEGY)]
        digest = checkpoint.json_digest(keys)
        return folder, processes.from_first(lambda: checkpoint.open_checkpoints(folder, digest))


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
    load: Callable[[Start, Footprint], PreTrainedModel] = load_policy,
) -> Trained:
    """Train, from a checkpoint if there is one, and return the model with its adapters merged.

    ``before_release`` is called after the training, while the trainer still holds its models. ``load`` makes a model
    that takes the weights, where processes hold a part of them each.

    Raises:
        ArenaError: the loss is NaN or infinite.
    """
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    resumed = int(resume.name.split("-")[1]) if resume else 0
    start = time.monotonic()
    named = f"{label} (from step {resumed})" if resumed else label
    with job.progress(named, steps - resumed, "steps") as line:
        trainer.add_callback(Watch(line))
        trainer.add_callback(TimedCheckpoints(job.train.checkpoint_minutes))
        if resume:
            trainer.train(resume_from_checkpoint=str(resume))
        else:
            trainer.train()
    points = loss_curve(trainer.state.log_history)
    for point in points:
        check_finite(point, label)
    before_release()
    model = whole_model(trainer, job, load)
    done = Trained(model, points, int(trainer.state.global_step), time.monotonic() - start, resumed)
    release(trainer)
    return done


def whole_model(
    trainer: Trainer, job: Job, load: Callable[[Start, Footprint], PreTrainedModel]
) -> PreTrainedModel:
    """Return the trained model with its adapters merged.

    Where weights are sharded, the first process gathers them into a new model; the others keep their shards.
    """
    from accelerate import DistributedType

    accelerator = trainer.accelerator
    if accelerator.distributed_type not in (DistributedType.FSDP, DistributedType.DEEPSPEED):
        return merged(trainer.model)
    gathered = accelerator.get_state_dict(trainer.model_wrapped)
    if not processes.is_first():
        return trainer.model
    plain = load(job.start, Footprint())
    tied = tuple(getattr(plain, "_tied_weights_keys", None) or ())  # saved once, under the other name
    if hasattr(trainer.model, "peft_config"):
        from peft import get_peft_model

        plain = get_peft_model(plain, trainer.model.peft_config["default"])
    missing, unexpected = plain.load_state_dict(gathered, strict=False)
    lost = [name for name in missing if not name.endswith(tied)] if tied else missing
    if lost or unexpected:
        raise RuntimeError(f"the gathered weights do not fit the model: {[*lost, *unexpected][:5]}")
    return merged(plain)


def check_finite(point: dict[str, float], label: str) -> None:
    """Raise if the loss of a curve's point is no longer a number.

    Raises:
        ArenaError: so it is.
    """
    if not math.isfinite(point["loss"]):
        raise ArenaError(
            f"{label}: the loss at step {point['step']:.0f} is {point['loss']}: training has diverged",
            where="train",
            hint="lower learning_rate, or use precision: fp32",
        )


def release(trainer: Trainer) -> None:
    """Release gradients, optimiser and reference model, so that the next phase can use their memory."""
    for parameter in trainer.model.parameters():
        parameter.grad = None
    trainer.optimizer = trainer.lr_scheduler = None
    trainer.callback_handler.optimizer = trainer.callback_handler.lr_scheduler = None
    trainer.accelerator.free_memory()
    if hasattr(trainer, "ref_model"):
        trainer.ref_model = None
    gc.collect()
    give_back_memory()
