"""Reads the pool and recorded answers: checks each row, refuses duplicate ids, adds references."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import ConfigDict, Field

from arena_learning.core import ArenaError, SplitAnswer, split_text
from arena_learning.schema import Instruction, Row, numbered_rows, parse_criterion


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


def read_pool(path: Path) -> list[Instruction]:
    """Read and check the instructions of ``path``.

    Raises:
        ArenaError: a malformed row or rubric criterion, a duplicate id, or no rows; with file and line.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "pool.jsonl"
        >>> _ = file.write_text('{"id": "q1", "turns": [{"role": "user", "content": "Why is the sky blue?"}]}')
        >>> read_pool(file)[0].category
        'other'
    """
    seen: dict[str, int] = {}
    instructions = []
    for number, instruction in numbered_rows(path, Instruction):
        where = f"{path}, line {number}"
        if instruction.id in seen:
            raise ArenaError(
                f"the id {instruction.id!r} is already used in line {seen[instruction.id]}",
                where=where,
                hint="give each instruction its own id",
            )
        seen[instruction.id] = number
        for place, raw in enumerate(instruction.rubric, 1):
            parse_criterion(raw, f"{where}, rubric criterion {place}")
        instructions.append(instruction)
    if not instructions:
        raise ArenaError("the file contains no instructions", where=str(path))
    return instructions


def read_recorded(path: Path) -> dict[str, RecordedAnswer]:
    """Read a file of recorded answers, by instruction id.

    Raises:
        ArenaError: the file is missing, a line is malformed or an id is answered twice; with file and line.
    """
    if not path.is_file():
        raise ArenaError("no such file of recorded answers", where=str(path))
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
