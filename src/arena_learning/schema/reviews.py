"""Verdicts that people gave on `arena review`'s page: rows of reviews/NAME.jsonl."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from arena_learning.schema.rows import Row, Turn

# How the battles of a review were chosen. Only of these two are the battles of a pair of contestants a random part of
# all its battles, whatever the judges said of them.
ReviewSampling = Literal["random", "close", "disagreement"]
BY_CHANCE: tuple[ReviewSampling, ...] = ("random", "close")

ReviewWinner = Literal["model_a", "model_b", "tie", "both_bad"]


class Review(Row):
    """A person's verdict on a battle, with all that the person saw: a row of ``reviews/NAME.jsonl``.

    A file is only ever added to. A changed verdict is another row, which ``replaces`` the earlier one.

    Attributes:
        id: identifier of the row: the battle, the reviewer and a number.
        battle: digest of the instruction, the two contestants and their answers.
        place: ``arena`` for the test set, else the round whose battle it is.
        instruction_id: the instruction.
        category: category of the instruction.
        source: origin of the instruction.
        turns: the instruction's conversation.
        rubric: the instruction's criteria; not shown to the reviewer.
        reference: the instruction's reference answer, or None; not shown to the reviewer.
        model_a: contestant of answer 1, which stood first; not shown to the reviewer.
        model_b: contestant of answer 2.
        response_a: answer 1.
        response_b: answer 2.
        winner: ``model_a``, ``model_b``, ``tie`` or ``both_bad``, which counts as a tie; None if it was skipped.
        note: what the reviewer noted.
        reviewer: who gave the verdict.
        sampling: how the battle was chosen: ``random``, ``close`` or ``disagreement``.
        seed: seed of the choice.
        at: date and time of the verdict, in UTC.
        replaces: id of the row that this one replaces; empty if there is none.
    """

    HINT: ClassVar[str] = "see Review in docs/reference/rows.md; `arena review` writes these files"

    id: str = Field(min_length=1)
    battle: str = Field(min_length=1)
    place: str
    instruction_id: str = Field(min_length=1)
    category: str = "other"
    source: str = "unknown"
    turns: tuple[Turn, ...] = Field(min_length=1)
    rubric: tuple[dict[str, Any], ...] = ()
    reference: str | None = None
    model_a: str
    model_b: str
    response_a: str
    response_b: str
    winner: ReviewWinner | None
    note: str = ""
    reviewer: str = Field(min_length=1)
    sampling: ReviewSampling
    seed: int
    at: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
    replaces: str = ""


def current_reviews(rows: Sequence[Review]) -> list[Review]:
    """Return the rows that no later row replaces, in their order."""
    replaced = {row.replaces for row in rows}
    return [row for row in rows if row.id not in replaced]
