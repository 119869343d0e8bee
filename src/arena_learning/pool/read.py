"""Reads recorded answers: checks each row, refuses an instruction that is answered twice, adds references."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import ConfigDict, Field

from arena_learning.core import ArenaError, SplitAnswer, missing_file, split_text
from arena_learning.schema import Instruction, Row, numbered_rows


class RecordedAnswer(Row):
    """One line of a file of recorded answers; other keys are ignored.

    A thought is in ``thought``, or in ``text`` before the answer, between the marks that its model uses.
    """

    model_config = ConfigDict(extra="ignore")
    HINT = 'each line must be {"id": ..., "text": ...}'

    id: str = Field(min_length=1)
    text: str
    thought: str = ""

    @property
    def said(self) -> SplitAnswer:
        """The thought and the answer."""
        return SplitAnswer(self.thought, self.text) if self.thought else split_text(self.text)


def read_recorded(path: Path) -> dict[str, RecordedAnswer]:
    """Read a file of recorded answers, by instruction id.

    Raises:
        ArenaError: the file is missing, a line is malformed or an id is answered twice; with file and line.
    """
    if not path.is_file():
        raise missing_file(path, "no such file of recorded answers", "(params.yaml names it)")
    answers: dict[str, RecordedAnswer] = {}
    for number, row in numbered_rows(path, RecordedAnswer):
        if row.id in answers:
            raise ArenaError(
                f"'{row.id}' is answered twice",
                where=f"{path}, line {number}",
                hint="keep one of the answers",
            )
        answers[row.id] = row
    return answers


def read_answers(path: Path) -> dict[str, str]:
    """Return the texts of recorded answers, without thoughts, by instruction id; see `read_recorded`."""
    return {name: answer.said.text for name, answer in read_recorded(path).items()}


def with_references(instructions: list[Instruction], answers: Mapping[str, str]) -> list[Instruction]:
    """Return the instructions; those without a reference get the answer of the same id as their reference."""
    return [
        i if i.reference or i.id not in answers else i.model_copy(update={"reference": answers[i.id]})
        for i in instructions
    ]
