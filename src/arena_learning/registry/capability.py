"""The check of capability: numbers and formats that rubrics of the test set ask for, verified by rule.

No judge and no embedding is used, and no code that a model wrote is run: `schema.check_criterion` reads the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from arena_learning.core import Paths
from arena_learning.registry.checks import Check
from arena_learning.schema import (
    Criterion,
    Instruction,
    Response,
    check_criterion,
    parse_criterion,
    read_rows,
)

VERIFIED = ("number", "format")


class MetCriteria(NamedTuple):
    """How many of the criteria that a rule can verify a contestant's test answers meet, and how many there are."""

    met: int
    of: int

    @property
    def share(self) -> float:
        """The share that is met."""
        return self.met / self.of


def capability_check(candidate: str, against: str, limit: float, paths: Paths) -> Check:
    """Return the check that the share of met criteria did not fall by more than ``limit``.

    Raises:
        ArenaError: the test set, the answers or a rubric cannot be read.
    """
    asked = verified_criteria(paths)
    if not asked:
        return Check("capability", None, "numbers and formats: no rubric of the test set asks for one")
    new, old = (met_criteria(name, asked, paths) for name in (candidate, against))
    passed = old.share - new.share <= limit + 1e-12
    fall = f"{'within' if passed else 'a fall beyond'} the limit of {limit:g}"
    said = f"numbers and formats: {new.met} of {new.of} right, of {against} {old.met}: {fall}"
    return Check("capability", passed, said, new.share, old.share, limit)


def verified_criteria(paths: Paths) -> dict[str, list[Criterion]]:
    """Return the test set's criteria about numbers and formats by instruction; those without any are left out."""
    found = {}
    for instruction in read_rows(paths.split("test"), Instruction):
        where = f"{paths.split('test')}, {instruction.id}"
        own = [parse_criterion(raw, where) for raw in instruction.rubric if raw.get("kind") in VERIFIED]
        if own:
            found[instruction.id] = own
    return found


def met_criteria(contestant: str, asked: dict[str, list[Criterion]], paths: Paths) -> MetCriteria:
    """Return how many criteria a contestant's recorded test answers meet; a missing answer meets none."""
    answers: Sequence[Response] = read_rows(paths.arena_responses(contestant), Response)
    texts = {answer.instruction_id: answer.text for answer in answers}
    results = [
        check_criterion(criterion, texts.get(name, "")).met >= 1.0
        for name, criteria in asked.items()
        for criterion in criteria
    ]
    return MetCriteria(sum(results), len(results))
