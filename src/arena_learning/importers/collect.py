"""What an import has found so far, checked for contradictions, and the files it becomes."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from arena_learning.errors import ArenaError
from arena_learning.importers.source import Record
from arena_learning.rows import (
    Instruction,
    RecordedVerdict,
    canonical,
    describe_invalid,
    write_rows,
    write_text,
)

_ID = re.compile(r"[^\w.:-]+")
_NAME = re.compile(r"[^A-Za-z0-9._-]+")


class Vote(NamedTuple):
    """One row of a battle log, as `arena rate` reads it."""

    model_a: str
    model_b: str
    winner: str
    prompt_id: str


class Collected:
    """Instructions by id, answers by contestant and id, verdicts, votes, and what was passed over and why."""

    def __init__(self) -> None:
        self.instructions: dict[str, Instruction] = {}
        self.answers: dict[str, dict[str, str]] = {}
        self.verdicts: dict[tuple[str, str, str], RecordedVerdict] = {}
        self.votes: list[Vote] = []
        self.passed: Counter[str] = Counter()

    def add_instruction(self, record: Record, **fields: Any) -> None:
        """Add an instruction; the same one again is no error."""
        try:
            instruction = Instruction(**fields)
        except ValidationError as error:
            raise ArenaError(describe_invalid(error), where=record.where) from None
        known = self.instructions.setdefault(instruction.id, instruction)
        if known.turns != instruction.turns:
            raise ArenaError(
                f"the id '{instruction.id}' is another instruction's already", where=record.where
            )

    def add_answer(self, record: Record, instruction_id: str, contestant: str, text: str) -> None:
        """Add an answer; the same one again is no error, another one is."""
        answers = self.answers.setdefault(contestant, {})
        if answers.setdefault(instruction_id, text) != text:
            raise ArenaError(
                f"'{contestant}' answers '{instruction_id}' twice, differently", where=record.where
            )

    def add_verdict(
        self, record: Record, instruction_id: str, pair: tuple[str, str], share: float, known: bool
    ) -> None:
        """Add a verdict: ``share`` from 0 to 1 is how far the second of ``pair`` is preferred.

        Args:
            record: where it stands.
            instruction_id: what was judged.
            pair: the contestants, as presented where ``known``.
            share: 0 the first, 1 the second, 0.5 a tie.
            known: whether the order of presentation is.
        """
        if not 0 <= share <= 1:
            raise ArenaError(f"a preference of {share:g} is not between 0 and 1", where=record.where)
        first, second = pair
        if first == second:
            self.passed["a contestant against itself"] += 1
            return
        row = RecordedVerdict(
            instruction_id=instruction_id,
            first=first,
            second=second,
            score_first=10 - 9 * share,
            score_second=1 + 9 * share,
            order_known=known,
        )
        place = (instruction_id, *(pair if known else sorted(pair)))
        if self.verdicts.setdefault(place, row) != row:
            raise ArenaError(
                f"{first} and {second} are judged twice on '{instruction_id}', differently",
                where=record.where,
                mend="import one judge at a time (--judge)",
            )

    def write(self, out: Path) -> dict[str, Any]:
        """Write what was found below ``out``; return the counts.

        Raises:
            ArenaError: nothing was found.
        """
        if not (self.instructions or self.answers or self.verdicts or self.votes):
            raise ArenaError("nothing found to import", mend=f"passed over: {dict(self.passed) or 'nothing'}")
        if self.instructions:
            write_rows(out / "instructions.jsonl", sorted(self.instructions.values(), key=lambda i: i.id))
        for contestant, texts in sorted(self.answers.items()):
            lines = [canonical({"id": key, "text": text}) + "\n" for key, text in sorted(texts.items())]
            write_text(out / "answers" / f"{contestant}.jsonl", "".join(lines))
        votes = [*self.votes, *map(_vote, self.verdicts.values())]
        if self.verdicts:
            rows = sorted(self.verdicts.values(), key=lambda v: (v.instruction_id, v.first, v.second))
            write_rows(out / "verdicts.jsonl", rows)
        if votes:
            lines = [
                canonical({k: v for k, v in vote._asdict().items() if v}) + "\n" for vote in sorted(votes)
            ]
            write_text(out / "battles.jsonl", "".join(lines))
        return {
            "instructions": len(self.instructions),
            "contestants": len(self.answers),
            "answers": sum(map(len, self.answers.values())),
            "verdicts": len(self.verdicts),
            "battles": len(votes),
            "passed_over": dict(sorted(self.passed.items())),
        }


def safe_id(text: str) -> str:
    """Return ``text`` as an instruction's id."""
    return _ID.sub("-", text.strip()).strip("-")


def safe_name(text: str) -> str:
    """Return ``text`` as a contestant's name, which is a file's name too.

    Where letters or digits are lost a digest is added: two names in Chinese stay two.
    """
    text = text.strip()
    name = _NAME.sub("-", text).strip("-._")
    lost = any(char.isalnum() and not char.isascii() for char in text) or (text and not name)
    return f"{name or 'model'}-{hashlib.sha256(text.encode()).hexdigest()[:8]}" if lost else name


def _vote(verdict: RecordedVerdict) -> Vote:
    gap = verdict.score_first - verdict.score_second
    winner = "tie" if abs(gap) < 1e-9 else "model_a" if gap > 0 else "model_b"
    return Vote(verdict.first, verdict.second, winner, verdict.instruction_id)
