"""What a training says of itself: rows in and out, the curve, how far the weights moved, what it cost."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from arena_learning.schema import Row

Method = Literal["sft", "dpo", "ppo", "rloo", "grpo"]
Name = Literal["sft", "dpo", "reward", "ppo", "rloo", "grpo"]


class RowCount(Row):
    """What became of the rows of one data set; `given` is `kept` and all that was `dropped`.

    Attributes:
        given: rows in the file.
        kept: rows trained on (the `cut` ones included).
        dropped: rows left out, by reason.
        cut: rows whose end was cut off at the longest length, by reason.
        tokens: tokens of the kept rows.
        trained_tokens: those of them that carry loss.
        held_out: rows kept back for measuring.
    """

    given: int = 0
    kept: int = 0
    dropped: dict[str, int] = Field(default_factory=dict)
    cut: dict[str, int] = Field(default_factory=dict)
    tokens: int = 0
    trained_tokens: int = 0
    held_out: int = 0


class WeightChange(Row):
    """Norm of the change over the norm of the start, over all weights: as trained, and as read back."""

    before_saving: float = 0.0
    after_saving: float = 0.0


class Phase(Row):
    """One run of a trainer: ``sft``, ``dpo``, ``reward``, ``ppo``, ``rloo`` or ``grpo``.

    Attributes:
        name: which.
        rows: what became of its rows.
        steps: optimiser steps.
        curve: one entry a logged step: `step`, `loss`, `lr`, and what the trainer adds.
        figures: single numbers at the end, such as held-out accuracy.
    """

    name: Name
    rows: RowCount
    steps: int = 0
    curve: tuple[dict[str, float], ...] = ()
    figures: dict[str, float] = Field(default_factory=dict)


class Cost(Row):
    """What differs between two equal trainings: time, memory, and whether it was resumed.

    Attributes:
        seconds: wall time of each phase in this process, loading and saving under their own names.
        tokens_per_second: tokens of the rows seen in this process, forward and backward, by phase.
        peak_memory_mb: largest resident size of the process so far.
        resumed_from: the step that each phase went on from, if it was interrupted before.
        judged: games that judges were asked for rewards in this process; the rest was remembered.
    """

    seconds: dict[str, float] = Field(default_factory=dict)
    tokens_per_second: dict[str, float] = Field(default_factory=dict)
    peak_memory_mb: float = 0.0
    resumed_from: dict[str, int] = Field(default_factory=dict)
    judged: int = 0


class TrainReport(Row):
    """The result of `train_round`.

    All but `cost` is the same for two runs of the same inputs on the same machine.

    Attributes:
        method: what was asked for.
        rows: rows trained on; 0 says that the model is a copy of its start.
        phases: the trainers that ran, in order.
        weight_change: how far the policy moved.
        settings: the current hyper-parameters, flat.
        versions: torch, transformers, trl.
        device: where it ran.
        warnings: what a user should look at, naming the symptom.
        cost: time and memory.
    """

    method: Method
    rows: int
    phases: tuple[Phase, ...] = ()
    weight_change: WeightChange = WeightChange()
    settings: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    device: str = "cpu"
    warnings: tuple[str, ...] = ()
    cost: Cost = Cost()

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return self.model_dump(mode="json")

    def metrics(self) -> dict[str, Any]:
        """Return the report without its cost and without the curves: what a metrics file shows."""
        flat = self.model_dump(mode="json", exclude={"cost"})
        for phase in flat["phases"]:
            del phase["curve"]
        return flat

    def curve(self) -> list[dict[str, Any]]:
        """Return one entry a logged step over all phases, with its `phase`."""
        return [{"phase": phase.name, **point} for phase in self.phases for point in phase.curve]
