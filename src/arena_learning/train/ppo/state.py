"""PPO's checkpoints: trained weights and the optimiser's moments as safetensors, all else as JSON; no pickles."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import load_file, save_file
from torch import Tensor

from arena_learning.core import ArenaError, read_json, write_json
from arena_learning.train.checkpoint import STATE, drop_checkpoints
from arena_learning.train.ppo.trainer import Learner

if TYPE_CHECKING:
    from accelerate import Accelerator

Point = dict[str, float]


def save_state(
    folder: Path, step: int, curve: Sequence[Point], learners: Sequence[Learner], accelerator: Accelerator
) -> None:
    """Write a checkpoint below ``folder``, and then remove those before it.

    Args:
        folder: the phase's.
        step: updates done.
        curve: of all of them.
        learners: what is trained.
        accelerator: only its main process writes.
    """
    accelerator.wait_for_everyone()
    if not accelerator.is_main_process:
        return
    place = folder / f"checkpoint-{step}"
    place.mkdir(parents=True, exist_ok=True)
    for learner in learners:
        tensors = {f"weight.{name}": weight for name, weight in _trained(learner).items()}
        for number, state in learner.optimizer.state_dict()["state"].items():
            tensors |= {f"moment.{number}.{name}": tensor for name, tensor in state.items()}
        whole = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
        save_file(whole, place / f"{learner.name}.safetensors")
    schedules = {learner.name: learner.schedule.state_dict() for learner in learners}
    # Last, for it makes the checkpoint whole.
    write_json(place / STATE, {"global_step": step, "log_history": list(curve), "schedules": schedules})
    drop_checkpoints(folder, keep=(place.name,))


def load_state(place: Path, learners: Sequence[Learner]) -> tuple[int, list[Point]]:
    """Put a checkpoint's weights, optimisers and schedules in place; return its step and the curve up to it.

    Raises:
        ArenaError: it holds other weights than those that are trained.
    """
    state = read_json(place / STATE)
    for learner in learners:
        trained, moments = _trained(learner), defaultdict[int, dict[str, Tensor]](dict)
        found = load_file(place / f"{learner.name}.safetensors")
        if {name.removeprefix("weight.") for name in found if name.startswith("weight.")} != set(trained):
            raise ArenaError(
                "the checkpoint holds other weights than those that are trained",
                where=str(place),
                hint="remove the folder: the training then starts anew",
            )
        for name, tensor in found.items():
            kind, rest = name.split(".", 1)
            if kind == "weight":
                trained[rest].data.copy_(tensor)
            else:
                number, name_of = rest.split(".")
                moments[int(number)][name_of] = tensor
        learner.schedule.load_state_dict(state["schedules"][learner.name])
        groups = learner.optimizer.state_dict()["param_groups"]
        for group, rate in zip(groups, learner.schedule.get_last_lr(), strict=True):
            group["lr"] = rate
        learner.optimizer.load_state_dict({"state": dict(moments), "param_groups": groups})
    return int(state["global_step"]), list(state["log_history"])


def _trained(learner: Learner) -> dict[str, Tensor]:
    """Return the weights that are trained, shared ones once, by the names they have in one process."""
    module = getattr(learner.module, "module", learner.module)
    return {name: tensor for name, tensor in module.named_parameters() if tensor.requires_grad}
