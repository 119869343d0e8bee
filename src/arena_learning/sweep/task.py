"""What a sweep asks of the thing it sweeps, and what a trial gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from arena_learning.sweep.space import Space, Values


@dataclass(frozen=True)
class Outcome:
    """What a trial gives.

    Attributes:
        values: one an objective; empty where the trial was pruned.
        pruned: why there are no values: pruned, or a constraint that could no longer hold.
        constraints: by name; the trial is feasible where none is above 0.
        shown: further figures, texts and lists, by name: JSON.
        reused: what the store had already, by name.
    """

    values: tuple[float, ...] = ()
    pruned: str = ""
    constraints: dict[str, float] = field(default_factory=dict)
    shown: dict[str, Any] = field(default_factory=dict)
    reused: dict[str, Any] = field(default_factory=dict)

    @property
    def feasible(self) -> bool:
        """Whether all constraints hold."""
        return all(value <= 0 for value in self.constraints.values())


class InfeasibleError(Exception):
    """Values that cannot be tried, and would fail again: the trial is kept as failed, with this reason."""


class Trial(Protocol):
    """What a task may ask about the trial it runs."""

    number: int

    def report(self, item: int, score: float) -> None:
        """Note the score of one item."""
        ...

    def others(self) -> Sequence[Mapping[str, Any]]:
        """Return the study's finished trials, as `records.record` does."""
        ...


class Task(Protocol):
    """Something to be swept.

    Attributes:
        kind: ``selection`` or ``judge``.
        subject: the round, or the judge.
        space: what is tried.
        current: the current values; trial 0.
        objectives: the names of what is measured, the first one first; with ``-`` in front what is to be small.
        seed: of everything drawn.
    """

    kind: str
    subject: str
    space: Space
    current: Values
    objectives: tuple[str, ...]
    seed: int

    def inputs(self, values: Values) -> Mapping[str, Any]:
        """Return all that could change the outcome of a trial of ``values``, as JSON.

        ``params`` holds the parameters that it depends on, by path.
        """
        ...

    def may_vary(self, path: str) -> bool:
        """Whether trials may differ in the key at ``path`` and still be compared."""
        ...

    def run(self, values: Values, trial: Trial) -> Outcome:
        """Run a trial."""
        ...
