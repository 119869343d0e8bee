"""People's verdicts on traces in MLflow: rows of feedback.jsonl."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from arena_learning.schema.rows import Row, Turn
from arena_learning.schema.votes import VotedWinner


class FeedbackVerdict(Row):
    """A person's verdict on a judge's game, given on its trace in MLflow: a row of feedback.jsonl.

    It is a labelled pair (for `arena audit-judge` and `arena sweep judge`) and a human verdict on a battle (for
    ``evaluate.human_verdicts``).

    Attributes:
        id: identifier of the verdict.
        round: the round of the game, or ``test``.
        instruction_id: the instruction.
        judge: the judge of the game.
        model_a: contestant whose response was presented first.
        model_b: the other contestant.
        label: the person's verdict: ``model_a``, ``model_b`` or ``tie``.
        said: the value as it was given.
        reviewer: who gave it, as MLflow knows the person.
        when: date and time, in UTC.
        note: the person's reasons.
        turns: the conversation.
        response_a: the first response.
        response_b: the second response.
        category: category of the instruction.
        source: where the verdict was given.
        reference: as in the instruction.
        rubric: as in the instruction.
    """

    HINT: ClassVar[str] = "restore it from git: `arena track` writes it"

    id: str = Field(min_length=1)
    round: str
    instruction_id: str = Field(min_length=1)
    judge: str
    model_a: str
    model_b: str
    label: VotedWinner
    said: str
    reviewer: str = ""
    when: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
    note: str = ""
    turns: tuple[Turn, ...] = Field(min_length=1)
    response_a: str
    response_b: str
    category: str = "other"
    source: str = "mlflow"
    reference: str | None = None
    rubric: tuple[dict[str, Any], ...] = ()
