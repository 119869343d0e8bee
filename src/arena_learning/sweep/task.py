"""The interface between a study and what it optimises: the task, and the outcome of a trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from arena_learning.sweep.space import Space, Values


@dataclass(frozen=True)
class Outcome:
    """The outcome of a trial.

    Attributes:
        values: one for each objective; empty if the trial was pruned.
        pruned: why there are no values: pruned, or a constraint that could no longer hold.
        constraints: by name; a trial is feasible if none is above 0.
        shown: further results by name, as JSON.
        reused: counts of what was in the store already, by name.
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
    """Values that cannot be tried and would fail again; the trial is kept as failed, with this reason."""


class Trial(Protocol):
    """What a task can ask about the trial that it runs."""

    number: int

    def report(self, item: int, score: float) -> None:
        """Record the score of one item."""
        ...

    def others(self) -> Sequence[Mapping[str, Any]]:
        """Return the study's finished trials, as records of `records.trial_record`."""
        ...


class Task(Protocol):
    """Something whose parameters a sweep optimises.

    Attributes:
        kind: ``selection`` or ``judge``.
        subject: name of the round or judge.
        space: the search space.
        current: the current values, which are trial 0.
        objectives: names of the metrics, the most important first; a leading ``-`` means that less is better.
        seed: seed of everything random.
    """

    kind: str
    subject: str
    space: Space
    current: Values
    objectives: tuple[str, ...]
    seed: int

    def inputs(self, values: Values) -> Mapping[str, Any]:
        """Return all that can change the outcome of a trial of ``values``, as JSON.

        ``params`` holds the parameters that the outcome depends on, by path.
        """
        ...

    def may_vary(self, path: str) -> bool:
        """Whether trials that differ in the key at ``path`` can still be compared."""
        ...

    def run(self, values: Values, trial: Trial) -> Outcome:
        """Run a trial."""
        ...
