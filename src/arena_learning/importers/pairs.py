"""Reads two answers to one instruction from a record: a vote on them, or a chosen and a rejected answer."""

from __future__ import annotations

from collections.abc import Container
from typing import Any, Literal, NamedTuple

from pydantic import ConfigDict, Field, model_validator

from arena_learning.core import ArenaError
from arena_learning.importers.conversations import OddError, Turns, read_answer, read_conversation, text_list
from arena_learning.importers.source import Record
from arena_learning.schema import (
    ONE_HOT,
    SPELLINGS,
    Row,
    Turn,
    VotedWinner,
    is_missing,
    one_hot_columns,
    read_winner,
)

INSTRUCTION = ("instruction", "prompt", "question", "input", "inputs")
SYSTEM = ("system", "system_prompt")
CONVERSATION = ("turns", "messages", "conversation", "conversations")
WINNER = ("winner", "label")
_ANSWERS = tuple(
    (f"{noun}_a", f"{noun}_b") for noun in ("response", "answer", "output", "completion", "text")
)
_TALKS = ("conversation_a", "conversation_b")
SIDES = (*(name for names in _ANSWERS for name in names), *_TALKS)


class LabelledPair(Row):
    """A labelled pair: an instruction (a text, or ``turns``), two answers, and a label; other keys are ignored."""

    model_config = ConfigDict(extra="ignore")

    id: str = Field(min_length=1)
    instruction: str = ""
    turns: tuple[Turn, ...] = ()
    response_a: str
    response_b: str
    label: Literal["model_a", "model_b", "tie"]
    source: str = "unknown"
    category: str = "other"
    reference: str | None = None
    rubric: tuple[dict[str, Any], ...] = ()

    @model_validator(mode="after")
    def _has_an_instruction(self) -> LabelledPair:
        if not self.turns and not self.instruction.strip():
            raise ValueError("an 'instruction' or 'turns' is needed")
        return self


class Exchange(NamedTuple):
    """Two answers to one instruction.

    Attributes:
        turns: the conversation up to the instruction.
        answers: the two answers; None if one is missing or empty.
        later: number of user turns that followed in each conversation. They are left out, because they continue
            different first answers, so no two models answer the same conversation.
    """

    turns: list[dict[str, str]]
    answers: tuple[str | None, str | None]
    later: int = 0


def has_winner(fields: Container[str]) -> bool:
    """Return whether there is a column for the winner, or a column per outcome."""
    return any(name in fields for name in WINNER) or bool(one_hot_columns(fields))


def winner_of(record: Record) -> VotedWinner | None:
    """Return a record's winner from its winner column or its columns of 0 and 1; None if none is given.

    Raises:
        ArenaError: an unknown spelling, or columns that do not contain a single 1 and otherwise 0.
    """
    for name in WINNER:
        if name in record.fields:
            said = record.fields[name]
            if is_missing(said):
                continue
            winner = read_winner(said)
            if winner is None:
                what = f"the {name} {str(said).strip()[:40]!r} is unknown"
                raise ArenaError(what, where=record.where, hint=f"use model_a, model_b, tie, {SPELLINGS}")
            return winner
    return _one_hot(record)


def _one_hot(record: Record) -> VotedWinner | None:
    columns = [name for name in one_hot_columns(record.fields) if not is_missing(record.fields[name])]
    values = {name: _flag(record, name) for name in columns}
    won = [name for name, value in values.items() if value]
    if len(won) > 1:
        raise ArenaError(
            f"{' and '.join(won)} are both 1",
            where=record.where,
            hint="set one of them to 1, the others to 0",
        )
    return ONE_HOT[won[0]] if won else None


def _flag(record: Record, name: str) -> bool:
    said = record.fields[name]
    value = said if isinstance(said, bool) else {"true": 1.0, "false": 0.0}.get(str(said).strip().lower())
    value = record.number(name) if value is None else value
    if value not in (0, 1):
        raise ArenaError(f"{name} is {said!r}, not 0 or 1", where=record.where)
    return bool(value)


def exchange_of(record: Record) -> Exchange | None:
    """Return the instruction and the two answers of a record, or None if it does not contain two answers.

    The answers are ``conversation_a`` and ``conversation_b``, or an instruction with ``response_a`` and ``response_b``
    (texts, or lists with one text per turn, also as JSON texts in table cells).

    Raises:
        ArenaError: they are malformed.
        OddError: they cannot be used.
    """
    if any(record.has(name) for name in _TALKS):
        return _of_talks(record)
    names = next((names for names in _ANSWERS if any(name in record.fields for name in names)), None)
    if names is None:
        return None
    one, two = (record.fields.get(name) for name in names)
    asked = record.first(*INSTRUCTION)
    lists = [text_list(value, record.where) for value in (record.fields.get(asked or ""), one, two)]
    if lists[0] and (lists[1] or lists[2]):
        return _of_lists(lists, record)
    turns = instruction_of(record)
    if turns is None:
        raise OddError("two answers without an instruction")
    for name, value in zip(names, (one, two), strict=True):
        if value is not None and not isinstance(value, str) and not is_missing(value):
            raise ArenaError(f"{name} is not text", where=record.where)
    return Exchange(turns, (_given(one), _given(two)))


def _of_talks(record: Record) -> Exchange:
    talks = []
    for name in _TALKS:
        if not record.has(name):
            raise OddError(f"a vote without {name}")
        talk = read_conversation(record.fields[name], record.where)
        whole = [
            *talk.turns,
            *([{"role": "assistant", "content": talk.answer}] if talk.answer is not None else []),
        ]
        first = next(n for n, turn in enumerate(whole, 1) if turn["role"] == "user")
        later = sum(turn["role"] == "user" for turn in whole[first:])
        talks.append((whole[:first], whole[first]["content"] if len(whole) > first else None, later))
    (turns, one, later), (other, two, _) = talks
    if turns != other:
        raise OddError("two conversations that do not begin alike")
    return Exchange(turns, (_given(one), _given(two)), later)


def _of_lists(lists: list[list[Any] | None], record: Record) -> Exchange:
    asked, one, two = lists
    assert asked is not None
    if one is None or two is None or not len(asked) == len(one) == len(two):
        raise ArenaError("the instruction and the answers are lists of different lengths", where=record.where)
    if not (asked[0] or "").strip():
        raise OddError("a conversation with an empty turn")
    turns = [{"role": "user", "content": asked[0]}]
    return Exchange(turns, (_given(one[0]), _given(two[0])), len(asked) - 1)


def instruction_of(record: Record) -> list[dict[str, str]] | None:
    """Return the turns of a record's instruction, starting with its system prompt if any; None without an instruction.

    Raises:
        ArenaError: the instruction is malformed.
        OddError: the instruction is a conversation that cannot be used.
    """
    if (name := conversation_name(record)) is not None:
        return read_conversation(record.fields[name], record.where).turns
    name = next((n for n in INSTRUCTION if record.has(n) or isinstance(record.fields.get(n), str)), None)
    if name is None:
        return None
    value = record.fields[name]
    if isinstance(value, list):  # TRL's conversational format: the prompt is the turns before the answer
        return read_conversation(value, record.where).turns
    text = record.text(name)
    if name == "instruction" and record.has(
        "input"
    ):  # Alpaca's format: the input that the instruction refers to is a separate field
        text += "\n\n" + record.text("input")
    turns = [{"role": "user", "content": text}]
    system = next((record.fields[n] for n in SYSTEM if record.has(n)), None)
    return (
        [{"role": "system", "content": system}, *turns]
        if isinstance(system, str) and system.strip()
        else turns
    )


def conversation_name(record: Record) -> str | None:
    """Return the name of the field with a conversation, or None; a field with a number is a count of turns."""
    held = (
        n
        for n in CONVERSATION
        if isinstance(record.fields.get(n), str | list | dict) and record.fields[n] != ""
    )
    return next(held, None)


def preference_of(record: Record) -> Exchange | None:
    """Return the instruction with the chosen and the rejected answer; None if either answer is missing.

    Raises:
        ArenaError: they are malformed.
        OddError: they cannot be used.
    """
    if not (record.has("chosen") and record.has("rejected")):
        return None
    one, two = (read_answer(record.fields[side], record.where) for side in ("chosen", "rejected"))
    return Exchange(_asked(record, one, two), (_given(one.answer), _given(two.answer)))


def _asked(record: Record, one: Turns, two: Turns) -> list[dict[str, str]]:
    if one.turns and two.turns and one.turns != two.turns:
        raise OddError("chosen and rejected are of different conversations")
    if turns := one.turns or two.turns:
        return turns
    prompt = next((name for name in INSTRUCTION if record.has(name)), None)
    if prompt is None:
        raise OddError("chosen and rejected without an instruction")
    return (
        instruction_of(
            Record(record.where, {k: v for k, v in record.fields.items() if k not in CONVERSATION})
        )
        or []
    )


def _given(answer: Any) -> str | None:
    return answer if isinstance(answer, str) and answer.strip() else None
