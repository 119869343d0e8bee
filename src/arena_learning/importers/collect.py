"""Collects the contents of an import, checks them for contradictions, and writes them to files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from arena_learning.core import ArenaError, canonical, write_text
from arena_learning.importers.pairs import LabelledPair
from arena_learning.importers.source import Record, with_digest
from arena_learning.schema import Instruction, RecordedVerdict, describe_invalid, write_rows

_NAME = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST = 100  # characters of a contestant's name, which is also a file name
_ITSELF = "a contestant against itself"
K = TypeVar("K")
V = TypeVar("V")


class Vote(NamedTuple):
    """One row of a battle log, as `arena rate` reads it; ``repeats`` is written as column ``count``."""

    model_a: str
    model_b: str
    winner: str
    prompt_id: str
    repeats: float = 1.0
    weight: float = 1.0


class Collected:
    """The collected rows, with contestants' original names, and counts of what was skipped.

    Attributes:
        instructions: instructions by id.
        answers: answers by contestant and instruction id.
        verdicts: verdicts by instruction id and contestants.
        votes: votes in the order of the files.
        pairs: labelled pairs by id.
        passed: number of skipped items by reason.
        unread: for each column that the importer does not read, the number of rows with a value in it.
    """

    def __init__(self) -> None:
        self.instructions: dict[str, Instruction] = {}
        self.answers: dict[str, dict[str, str]] = {}
        self.verdicts: dict[tuple[str, str, str], RecordedVerdict] = {}
        self.votes: list[Vote] = []
        self.pairs: dict[str, LabelledPair] = {}
        self.passed: Counter[str] = Counter()
        self.unread: Counter[str] = Counter()
        self._undo: list[Callable[[], object]] | None = None
        self._before: Counter[str] = Counter()

    def begin_row(self) -> None:
        """Save the current state for `undo_row`. Changes are only recorded after a call of this method."""
        self._undo = []
        self._before = self.passed.copy()

    def undo_row(self) -> None:
        """Undo everything that a malformed row added before its error."""
        for undo in reversed(self._undo or []):
            undo()
        self.passed = self._before

    def add_instruction(self, record: Record, **fields: Any) -> None:
        """Add an instruction; an identical duplicate is ignored."""
        try:
            instruction = Instruction(**fields)
        except ValidationError as error:
            raise ArenaError(describe_invalid(error), where=record.where) from None
        known = self._kept(self.instructions, instruction.id, instruction)
        if known.turns != instruction.turns:
            raise ArenaError(
                f"the id '{instruction.id}' is already used for another instruction", where=record.where
            )

    def add_answer(
        self, record: Record, instruction_id: str, contestant: str, text: str, soft: bool = False
    ) -> None:
        """Add an answer; an identical duplicate is ignored, a different one is an error (counted if ``soft``)."""
        answers = self._kept(self.answers, _named(contestant, record), {})
        if self._kept(answers, instruction_id, text) == text:
            return
        if not soft:
            raise ArenaError(
                f"'{contestant}' has two different answers to '{instruction_id}'", where=record.where
            )
        self.passed["another answer of a contestant to the same instruction"] += 1

    def add_vote(self, vote: Vote) -> None:
        """Add a vote; identical votes all count."""
        if vote.model_a == vote.model_b:
            self.passed[_ITSELF] += 1
            return
        self.votes.append(vote)
        if self._undo is not None:
            self._undo.append(self.votes.pop)

    def add_pair(self, record: Record, **fields: Any) -> None:
        """Add a labelled pair; if its id is taken, a number is appended to it."""
        name, number = fields["id"], 1
        while fields["id"] in self.pairs:
            number += 1
            fields["id"] = f"{name}-{number}"
        try:
            self._kept(self.pairs, fields["id"], LabelledPair(**fields))
        except ValidationError as error:
            raise ArenaError(describe_invalid(error), where=record.where) from None

    def add_verdict(
        self,
        record: Record,
        instruction_id: str,
        pair: tuple[str, str],
        share: float,
        known: bool,
        scores: tuple[float, float] | None = None,
        soft: bool = False,
    ) -> None:
        """Add a verdict.

        Args:
            record: the record with the verdict, for errors.
            instruction_id: the instruction.
            pair: the contestants, in the order of presentation if ``known``.
            share: preference for the second contestant, 0 to 1; 0.5 is a tie.
            known: whether the order of presentation is known.
            scores: scores of both contestants, 1 to 10, if there are any.
            soft: count a second verdict on the same pair as skipped; else a different one is an error.
        """
        if not 0 <= share <= 1:
            raise ArenaError(f"the preference {share:g} is not between 0 and 1", where=record.where)
        first, second = (_named(name, record) for name in pair)
        if first == second:
            self.passed[_ITSELF] += 1
            return
        one, two = scores or (10 - 9 * share, 1 + 9 * share)
        row = RecordedVerdict(
            instruction_id=instruction_id,
            first=first,
            second=second,
            score_first=one,
            score_second=two,
            order_known=known,
        )
        one_place = (first, second) if known else (min(first, second), max(first, second))
        place = (instruction_id, *one_place)
        if soft and place in self.verdicts:
            self.passed["another verdict on the same pair and instruction"] += 1
        elif self._kept(self.verdicts, place, row) != row:
            raise ArenaError(
                f"there are two different verdicts on {first} and {second} for '{instruction_id}'",
                where=record.where,
                hint="import one judge at a time (--judge)",
            )

    def _kept(self, held: MutableMapping[K, V], key: K, value: V) -> V:
        if key not in held:
            held[key] = value
            if self._undo is not None:
                self._undo.append(lambda: held.pop(key))
        return held[key]

    def write(self, out: Path) -> dict[str, Any]:
        """Write the collected rows to files below ``out``; return the counts.

        Raises:
            ArenaError: nothing was collected.
        """
        if not (self.instructions or self.answers or self.verdicts or self.votes or self.pairs):
            found = f"passed over: {dict(self.passed) or 'nothing'}"
            unread = f"; columns that are not read: {', '.join(self.unread)}" if self.unread else ""
            hint = (
                f"name a column that is: --column {next(iter(self.unread))}=instruction"
                if self.unread
                else ""
            )
            raise ArenaError(f"nothing found to import ({found}{unread})", hint=hint)
        names = _safe_names(self._contestants())
        if self.instructions:
            write_rows(out / "instructions.jsonl", sorted(self.instructions.values(), key=lambda i: i.id))
        for contestant, texts in sorted(self.answers.items()):
            lines = [canonical({"id": key, "text": text}) + "\n" for key, text in sorted(texts.items())]
            write_text(out / "answers" / f"{names[contestant]}.jsonl", "".join(lines))
        verdicts = [
            v.model_copy(update={"first": names[v.first], "second": names[v.second]})
            for v in self.verdicts.values()
        ]
        if verdicts:
            rows = sorted(verdicts, key=lambda v: (v.instruction_id, v.first, v.second))
            write_rows(out / "verdicts.jsonl", rows)
        votes = [v._replace(model_a=names[v.model_a], model_b=names[v.model_b]) for v in self.votes]
        votes = _with_prompts(sorted([*votes, *map(_vote, verdicts)]))
        if votes:
            text = "".join(canonical(row) + "\n" for row in _battle_rows(votes))
            write_text(out / "battles.jsonl", text)
        if self.pairs:
            write_rows(out / "labelled.jsonl", sorted(self.pairs.values(), key=lambda p: p.id))
        return {
            "instructions": len(self.instructions),
            "contestants": len(self.answers),
            "answers": sum(map(len, self.answers.values())),
            "verdicts": len(verdicts),
            "battles": len(votes),
            "labelled_pairs": len(self.pairs),
            "renamed": {raw: name for raw, name in sorted(names.items()) if raw != name},
            "passed_over": dict(sorted(self.passed.items())),
            "columns_not_read": dict(sorted(self.unread.items())),
        }

    def _contestants(self) -> set[str]:
        voted = (name for vote in self.votes for name in vote[:2])
        judged = (name for verdict in self.verdicts.values() for name in (verdict.first, verdict.second))
        return {*self.answers, *voted, *judged}


def _safe_names(contestants: Iterable[str]) -> dict[str, str]:
    """Return a distinct file name for each contestant's name.

    Slashes become hyphens (``org/model``: ``org-model``); dots, hyphens and underscores at the ends are removed. A name
    that needs other changes, or would equal another one, gets a digest of the original name appended, so that it is the
    same in every import.
    """
    plain = {raw: _NAME.sub("-", raw).strip("-._") for raw in contestants}
    same = Counter(plain.values())
    names = {}
    for raw, name in plain.items():
        own = raw == name or (same[name] == 1 and name == re.sub("/+", "-", raw).strip("-._"))
        fits = 0 < len(name) <= _LONGEST
        names[raw] = name if own and fits else with_digest(name[:_LONGEST] or "model", raw)
    return names


def _named(contestant: str, record: Record) -> str:
    name = contestant.strip()
    if not name:
        raise ArenaError("the contestant's name is empty", where=record.where)
    return name


def _with_prompts(votes: list[Vote]) -> list[Vote]:
    """Return the votes; if any has a prompt id, those without one get their own."""
    if not any(vote.prompt_id for vote in votes):
        return votes
    return [v if v.prompt_id else v._replace(prompt_id=f"unknown-{n}") for n, v in enumerate(votes, 1)]


def _battle_rows(votes: list[Vote]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a battle log, without columns that have their default value in every row."""
    empty = {"repeats": 1, "weight": 1, "prompt_id": ""}
    left = {name for name, value in empty.items() if all(getattr(vote, name) == value for vote in votes)}
    for vote in votes:
        row = {name: value for name, value in vote._asdict().items() if name not in left}
        if "repeats" in row:
            row["count"] = row.pop("repeats")
        yield row


def _vote(verdict: RecordedVerdict) -> Vote:
    gap = verdict.score_first - verdict.score_second
    winner = "tie" if abs(gap) < 1e-9 else "model_a" if gap > 0 else "model_b"
    return Vote(verdict.first, verdict.second, winner, verdict.instruction_id)
