"""Callbacks of a trainer: the progress line, checkpoints, and the training curve."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from arena_learning.core import Progress
from arena_learning.train.checkpoint import CheckpointClock

# The trainers' names for what a curve calls otherwise; the rest keep theirs. Left out: what depends on the
# clock, and counts that a resumed training starts anew.
RENAMED = {"learning_rate": "lr"}
LEFT_OUT = ("step", "epoch", "num_tokens", "total_flos")
TIMED = ("_runtime", "_per_second")


class Watch(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Advances the progress line at each step and shows the last loss."""

    def __init__(self, line: Progress) -> None:
        self.line = line
        self.note = ""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **rest: object,
    ) -> None:
        """Remember the loss."""
        loss = (logs or {}).get("loss")
        self.note = f"loss {float(loss):.4f}" if loss is not None else self.note

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: object
    ) -> None:
        """Advance by one step."""
        self.line.advance(1, self.note)


class TimedCheckpoints(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Lets a trainer write a checkpoint when one is due, but none at the end.

    A logged figure is a mean since the last log, which no checkpoint holds: it is written where a log is.
    """

    def __init__(self, minutes: float) -> None:
        self.clock = CheckpointClock(minutes)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: object
    ) -> None:
        """Ask for a checkpoint behind a step that is logged."""
        logged = state.global_step % max(1, int(args.logging_steps)) == 0
        if logged and state.global_step < state.max_steps:
            control.should_save = self.clock.due()

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: object
    ) -> None:
        """Stop if the run's hours are used up."""
        self.clock.stop(state.global_step, state.max_steps)


def loss_curve(history: list[dict[str, Any]]) -> tuple[dict[str, float], ...]:
    """Return a trainer's log as a curve: points with `step`, `loss`, `lr` and the trainer's own figures."""
    points = []
    for entry in history:
        if "loss" not in entry:
            continue  # an evaluation, or the summary at the end
        point = {"step": float(entry["step"])}
        for name, value in entry.items():
            if name not in LEFT_OUT and not name.endswith(TIMED):
                point[RENAMED.get(name, name)] = float(value)
        points.append(point)
    return tuple(points)
