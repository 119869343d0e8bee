"""Reads the instruction of a record of any public format: the one reader of pools, benchmarks and imports."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from arena_learning.core import ArenaError, canonical
from arena_learning.importers.conversations import OddError
from arena_learning.importers.pairs import exchange_of, instruction_of, preference_of
from arena_learning.importers.source import Record, files_of, records
from arena_learning.schema import Instruction, describe_invalid

ID = (
    "instruction_id",
    "prompt_id",
    "question_id",
    "conversation_id",
    "conversation_hash",
    "id",
    "uid",
)
EXTRA = ("category", "source", "language", "difficulty", "reference")
# What sources say of a conversation that their own moderation has flagged.
FLAGS = ("toxic", "openai_moderation")
_DIFFICULTIES = ("easy", "medium", "hard", "unknown")
_ODD_DIFFICULTY = "a difficulty other than easy, medium, hard"
_LATER = "a later turn without the answer before it"
_NOTHING = "a row without an instruction"
# LMSYS and WildChat give the language by name.
_LANGUAGES = dict(
    pair.split(":")
    for pair in (
        "english:en chinese:zh russian:ru german:de french:fr spanish:es japanese:ja portuguese:pt italian:it "
        "korean:ko arabic:ar polish:pl vietnamese:vi turkish:tr indonesian:id dutch:nl ukrainian:uk hindi:hi "
        "persian:fa czech:cs"
    ).split()
)
_TWO_ANSWERS = {"chosen", "rejected"}
_SIDES = ("response_a", "conversation_a", "answer_a", "output_a", "completion_a", "text_a")


class FoundInstruction(NamedTuple):
    """An instruction of a file.

    Attributes:
        where: its file and line, item or row.
        instruction: the instruction; its source is the file's or folder's name where the row names none.
        flagged: whether the source's own moderation has flagged the conversation.
        own: whether it is a row of this project's own schema, whose ids must be unique.
    """

    where: str
    instruction: Instruction
    flagged: bool = False
    own: bool = False


def iter_instructions(
    path: Path, bad: Callable[[ArenaError], None], passed: Counter[str]
) -> Iterator[FoundInstruction]:
    """Yield the instructions of a file, of a folder of files, or of a saved data set.

    The formats: this project's own rows (`Instruction`), ShareGPT, LMSYS-Chat and WildChat (conversations up to the
    last user turn), Alpaca, OpenOrca, FLAN, UltraFeedback, preferences and votes, and any table with a column of
    instructions; in any of the files that `records` reads.

    Args:
        path: the file or folder.
        bad: called with the error of a malformed row; if it does not raise, the row is skipped.
        passed: counts well-formed rows that hold no usable instruction, by reason.

    Raises:
        ArenaError: a file cannot be read; or raised by ``bad``.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "flan.jsonl"
        >>> _ = file.write_text('{"inputs": "Name a river.", "targets": "The Rhine."}')
        >>> [found] = iter_instructions(file, print, Counter())
        >>> found.instruction.source, found.instruction.text
        ('flan', 'Name a river.')
    """
    for file in files_of(path):
        source = _source_name(path, file)
        for record in records(file, bad):
            try:
                yield _found(record, source, passed)
            except OddError as odd:
                passed[odd.reason] += 1
            except ArenaError as error:
                bad(error)


def row_id(record: Record, turns: list[dict[str, str]] | None) -> str:
    """Return a record's id, or without one an id made from its turns.

    Raises:
        ArenaError: there is neither an id nor turns.
    """
    if (name := record.first(*ID)) is not None:
        return record.id(name)
    if turns is None:
        return record.id(*ID)  # there is no id: this raises the error
    alone = len(turns) == 1
    text = turns[0]["content"] if alone else canonical(turns)
    return f"i-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def is_derived(record: Record) -> bool:
    """Return whether `row_id` derives the id from the text: then the same instruction may occur more than once."""
    return record.first(*ID) is None


def row_extra(record: Record, passed: Counter[str]) -> dict[str, Any]:
    """Return a record's category, source, language, difficulty and reference, as far as it has them."""
    extra = {n: record.fields[n] for n in EXTRA if isinstance(record.fields.get(n), str) and record.fields[n]}
    if extra.get("difficulty", "unknown") not in _DIFFICULTIES:
        passed[_ODD_DIFFICULTY] += 1
        del extra["difficulty"]
    if "language" in extra:
        extra["language"] = _LANGUAGES.get(extra["language"].lower(), extra["language"])
    return extra


def _found(record: Record, source: str, passed: Counter[str]) -> FoundInstruction:
    turns = record.fields.get("turns")
    if isinstance(turns, list) and turns and all(isinstance(turn, str) for turn in turns):
        return _of_questions(record, turns, source, passed)
    if isinstance(turns, list):
        hint = "see Instruction in docs/reference/rows.md"
        return FoundInstruction(record.where, _checked(record.fields, record, hint), own=True)
    asked = _turns(record)
    if asked is None:
        raise OddError(_NOTHING)
    fields = {"source": source, **row_extra(record, passed)}
    instruction = _checked({"id": row_id(record, asked), "turns": asked, **fields}, record)
    return FoundInstruction(record.where, instruction, _flagged(record.fields))


def _of_questions(record: Record, turns: list[str], source: str, passed: Counter[str]) -> FoundInstruction:
    """Return the first question of a row of MT-Bench: the later ones go on from each model's own answer."""
    passed[_LATER] += len(turns) - 1
    first = [{"role": "user", "content": turns[0]}]
    category = record.fields.get("category")
    fields = {"source": source, "category": category if isinstance(category, str) and category else "other"}
    instruction = _checked({"id": row_id(record, first), "turns": first, **fields}, record)
    return FoundInstruction(record.where, instruction)


def _turns(record: Record) -> list[dict[str, str]] | None:
    fields = record.fields
    if fields.keys() >= _TWO_ANSWERS and (pair := preference_of(record)) is not None:
        return pair.turns
    if record.first(*_SIDES) and (pair := exchange_of(record)) is not None:
        return pair.turns
    return instruction_of(record)


def _checked(fields: dict[str, Any], record: Record, hint: str = "") -> Instruction:
    try:
        return Instruction.model_validate(fields)
    except ValidationError as error:
        raise ArenaError(describe_invalid(error), where=record.where, hint=hint) from None


def _flagged(fields: dict[str, Any]) -> bool:
    """Return whether the source flagged the conversation: `toxic`, or any turn in `openai_moderation`."""
    toxic, said = (fields.get(name) for name in FLAGS)
    if toxic is True or (isinstance(toxic, str) and toxic.strip().lower() == "true"):
        return True
    turns = said if isinstance(said, list) else [said]
    return any(isinstance(turn, dict) and turn.get("flagged") is True for turn in turns)


def _source_name(path: Path, file: Path) -> str:
    """Return the name of a source: the file's, or that of the folder below ``path`` in which it lies."""
    first = file.relative_to(path).parts[0] if path.is_dir() else file.name
    name = first.partition(".")[0] if file.name == first else first
    return name if name and not name.startswith("data-") else path.name
