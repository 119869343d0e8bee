"""PPO's checkpoints: weights as safetensors; optimisers and schedules in torch's format, loaded without code."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from arena_learning.errors import ArenaError
from arena_learning.rows import write_json
from arena_learning.train.checkpoint import STATE, drop_checkpoints
from arena_learning.train.ppo_trainer import Learner

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
        plain = accelerator.unwrap_model(learner.module)
        weights = {name: tensor.detach().contiguous() for name, tensor in _trained(plain).items()}
        save_file(weights, place / f"{learner.name}.safetensors")
        states = {"optimizer": learner.optimizer.state_dict(), "schedule": learner.schedule.state_dict()}
        torch.save(states, place / f"{learner.name}.pt")
    write_json(place / STATE, {"global_step": step, "log_history": list(curve)})  # last: it makes it whole
    drop_checkpoints(folder, keep=(place.name,))


def load_state(place: Path, learners: Sequence[Learner]) -> tuple[int, list[Point]]:
    """Put a checkpoint's weights, optimisers and schedules in place; return its step and the curve up to it.

    Raises:
        ArenaError: it holds other weights than those that are trained.
    """
    for learner in learners:
        module = getattr(learner.module, "module", learner.module)
        trained, found = _trained(module), load_file(place / f"{learner.name}.safetensors")
        if trained.keys() != found.keys():
            raise ArenaError(
                "the checkpoint holds other weights than those that are trained",
                where=str(place),
                mend="remove the folder: the training then starts anew",
            )
        with torch.no_grad():
            for name, tensor in found.items():
                trained[name].copy_(tensor)
        states = torch.load(place / f"{learner.name}.pt", map_location="cpu", weights_only=True)
        learner.optimizer.load_state_dict(states["optimizer"])
        learner.schedule.load_state_dict(states["schedule"])
    state: dict[str, Any] = json.loads((place / STATE).read_text(encoding="utf-8"))
    return int(state["global_step"]), list(state["log_history"])


def _trained(module: nn.Module) -> dict[str, Tensor]:
    """Return the weights that are trained, shared ones once."""
    return {name: tensor for name, tensor in module.named_parameters() if tensor.requires_grad}
