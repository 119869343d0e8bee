"""The result of a comparison: checks, each with its figures and a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Check:
    """One check of a comparison.

    Attributes:
        name: its key in data/arena/gate.json.
        passed: whether the model meets it; None where it does not apply.
        text: what was found, in a sentence; of a failed check it is the reason.
        value: the model's figure.
        before: the figure of the model that it is compared with.
        limit: the bound of the figure, of its change or of its ratio, as in `params.yaml`.
    """

    name: str
    passed: bool | None
    text: str
    value: float | None = None
    before: float | None = None
    limit: float | None = None

    def figures(self) -> dict[str, Any]:
        """Return the check for a JSON file, without its name and without figures that it lacks."""
        found = {"value": self.value, "before": self.before, "limit": self.limit}
        numbers = {key: round(value, 4) for key, value in found.items() if value is not None}
        return {"passed": self.passed, "text": self.text, **numbers}


@dataclass(frozen=True)
class Comparison:
    """A round's model beside the champion, or beside the base where there is none.

    Attributes:
        candidate: the round.
        against: the champion's round, or ``base``.
        judge: the judge of the Elo difference; empty if none is fit.
        checks: what was compared, in order.
    """

    candidate: str
    against: str
    judge: str
    checks: tuple[Check, ...]

    @property
    def passes(self) -> bool:
        """Whether no check failed."""
        return not self.reasons

    @property
    def reasons(self) -> tuple[str, ...]:
        """The sentences of the checks that failed."""
        return tuple(check.text for check in self.checks if check.passed is False)

    def figures(self) -> dict[str, Any]:
        """Return the content of data/arena/gate.json."""
        return {
            "candidate": self.candidate,
            "against": self.against,
            "judge": self.judge,
            "passes": self.passes,
            "checks": {check.name: check.figures() for check in self.checks},
        }
