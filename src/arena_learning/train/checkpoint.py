"""Checkpoints of an interrupted training: which belong to it, which are complete, when they are removed.

A checkpoint's optimiser, schedule and random state are in torch's format, which is a pickle; transformers
loads them with ``weights_only=True``, which runs no code. Weights are safetensors. PPO's are in `ppo.state`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arena_learning.core import canonical, deadline_error, logger, past_deadline, write_text
from arena_learning.train import processes

INPUTS = "inputs.json"
STATE = "trainer_state.json"  # written last


class CheckpointClock:
    """Says when the next checkpoint of a training is due.

    A checkpoint is three models large, six for PPO: a training of a few minutes writes none. Of several processes
    the first decides for all, so that they write at the same step.

    Args:
        minutes: between two checkpoints, and before the first one; 0: after each step.

    Attributes:
        stops: whether the checkpoint that is due is the last one, because the run's hours are used up.
    """

    def __init__(self, minutes: float) -> None:
        self.seconds = 60 * minutes
        self.last = time.monotonic()
        self.stops = False

    def due(self) -> bool:
        """Return whether a checkpoint is due now; if so, the time begins anew."""
        due, self.stops = processes.from_first(self._due)
        if due:
            self.last = time.monotonic()
        return due

    def stop(self, done: int, steps: int) -> None:
        """Stop behind the last checkpoint of a run whose hours are used up; in all processes at the same step.

        Raises:
            ArenaError: they are.
        """
        if self.stops:
            raise deadline_error(
                f"{steps - done} of {steps} steps of training; a checkpoint of step {done} is kept"
            )

    def _due(self) -> tuple[bool, bool]:
        stops = past_deadline()
        return stops or time.monotonic() - self.last >= self.seconds, stops


def json_digest(value: object) -> str:
    """Return the SHA-256 of a JSON value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def start_digest(folder: Path) -> str:
    """Return the SHA-256 of a model's weights and configuration (a second for each half gigabyte)."""
    total = hashlib.sha256()
    for path in sorted([*folder.glob("*.safetensors"), folder / "config.json"]):
        total.update(path.name.encode())
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def open_checkpoints(folder: Path, inputs: str) -> Path | None:
    """Make ``folder`` the checkpoint folder of the training with this digest; return a checkpoint to resume from.

    Checkpoints of other inputs and incomplete checkpoints are removed.
    """
    mark = folder / INPUTS
    if not mark.is_file() or json.loads(mark.read_text(encoding="utf-8"))["digest"] != inputs:
        if any(folder.glob("checkpoint-*")):
            logger.info("checkpoints of other inputs removed: training starts from the beginning")
        shutil.rmtree(folder, ignore_errors=True)
        write_text(mark, canonical({"digest": inputs}) + "\n")
        return None
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    whole = [path for path in found if is_whole(path)]
    for path in found:
        if not whole or path != whole[-1]:
            shutil.rmtree(path, ignore_errors=True)
    return whole[-1] if whole else None


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint is complete."""
    try:
        state: dict[str, Any] = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return int(state.get("global_step", 0)) == int(checkpoint.name.split("-")[1])


def drop_checkpoints(folder: Path, keep: Sequence[str] = ()) -> None:
    """Remove the checkpoints below ``folder``, each about three times the size of the model."""
    for path in folder.glob("checkpoint-*"):
        if path.name not in keep:
            shutil.rmtree(path, ignore_errors=True)
