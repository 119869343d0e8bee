"""The report of a training: rows used and dropped, the curve, how far the weights moved, the cost."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from arena_learning.schema import Row

Method = Literal["sft", "rft", "dpo", "ppo", "rloo", "grpo"]
Name = Literal["sft", "rft", "dpo", "reward", "ppo", "rloo", "grpo"]


class RowCount(Row):
    """Counts of the rows of one data set; `given` is the sum of `kept` and all `dropped`.

    Attributes:
        given: rows in the file.
        kept: rows trained on, including those that were cut.
        dropped: rows left out, by reason.
        cut: rows cut at the maximum length, by reason.
        tokens: tokens of the kept rows.
        trained_tokens: those tokens that carry loss.
        held_out: kept rows that are used for measuring only.
    """

    given: int = 0
    kept: int = 0
    dropped: dict[str, int] = Field(default_factory=dict)
    cut: dict[str, int] = Field(default_factory=dict)
    tokens: int = 0
    trained_tokens: int = 0
    held_out: int = 0


class WeightChange(Row):
    """Norm of the change divided by the norm of the start, over all weights: before saving and as read back."""

    before_saving: float = 0.0
    after_saving: float = 0.0


class Phase(Row):
    """One run of a trainer.

    Attributes:
        name: ``sft``, ``rft``, ``dpo``, ``reward``, ``ppo``, ``rloo`` or ``grpo``.
        rows: counts of its rows.
        steps: optimiser steps.
        curve: one point for each logged step: `step`, `loss`, `lr`, and the trainer's own figures.
        figures: final figures, such as held-out accuracy.
    """

    name: Name
    rows: RowCount
    steps: int = 0
    curve: tuple[dict[str, float], ...] = ()
    figures: dict[str, float] = Field(default_factory=dict)


class Cost(Row):
    """What may differ between two equal trainings: time, memory, and whether they were resumed.

    Attributes:
        seconds: wall time of each phase in this process; loading and saving have their own entries.
        tokens_per_second: tokens processed in this process, forward and backward, by phase.
        peak_memory_mb: largest resident memory of the process so far.
        resumed_from: the step that each interrupted phase resumed from.
        judged: games judged for rewards in this run; other verdicts came from the store.
        processes: processes that trained together; memory is that of the first.
    """

    seconds: dict[str, float] = Field(default_factory=dict)
    tokens_per_second: dict[str, float] = Field(default_factory=dict)
    peak_memory_mb: float = 0.0
    resumed_from: dict[str, int] = Field(default_factory=dict)
    judged: int = 0
    processes: int = 1


class TrainReport(Row):
    """The result of `train_round`.

    All but `cost` is the same for two runs with the same inputs on the same machine.

    Attributes:
        method: the requested method.
        rows: rows trained on; with 0 the model is a copy of its start.
        phases: the trainers that ran, in order.
        weight_change: how far the policy's weights moved.
        settings: the current hyper-parameters, flat.
        versions: versions of torch, transformers and trl.
        device: ``cpu`` or ``cuda``.
        warnings: what the user should check.
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
        """Return the whole report as JSON values."""
        return self.model_dump(mode="json")

    def metrics(self) -> dict[str, Any]:
        """Return the report without its cost and curves, for a metrics file."""
        flat = self.model_dump(mode="json", exclude={"cost"})
        for phase in flat["phases"]:
            del phase["curve"]
        return flat

    def curve(self) -> list[dict[str, Any]]:
        """Return the logged points of all phases in order, each with its `phase`."""
        return [{"phase": phase.name, **point} for phase in self.phases for point in phase.curve]
