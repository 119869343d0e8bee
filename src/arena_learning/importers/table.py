"""Any table with a column for what is needed: instructions, answers or votes, by the names of its columns."""

from __future__ import annotations

import hashlib
from typing import Any

from arena_learning.errors import ArenaError
from arena_learning.importers.collect import Collected, Vote, safe_id, safe_name
from arena_learning.importers.source import Record

INSTRUCTION = ("instruction", "prompt", "question")
ANSWER = ("text", "response", "output", "answer", "completion")
CONTESTANT = ("contestant", "model", "generator", "model_id")
ID = ("instruction_id", "prompt_id", "question_id", "id", "uid")
_WINNERS = {
    "model_a": "model_a",
    "a": "model_a",
    "model_b": "model_b",
    "b": "model_b",
    "tie": "tie",
    "both_bad": "tie",
}


def take(record: Record, found: Collected, contestant: str = "") -> None:
    """Add what a record holds. ``contestant`` names the answers of a table that has no column for it."""
    fields = record.fields
    used = False
    if {"model_a", "model_b", "winner"} <= fields.keys():
        found.votes.append(_vote(record))
        used = True
    conversation = next((fields[n] for n in ("turns", "messages", "conversation") if n in fields), None)
    if conversation is not None or any(isinstance(fields.get(n), str) for n in INSTRUCTION):
        turns = _turns(record, conversation)
        found.add_instruction(record, id=_id(record), turns=turns, **_extra(fields))
        used = True
    if any(isinstance(fields.get(n), str) for n in ANSWER):
        name = (
            contestant
            if contestant and not any(fields.get(n) for n in CONTESTANT)
            else record.text(*CONTESTANT)
        )
        found.add_answer(record, _id(record), safe_name(name), record.text(*ANSWER))
        used = True
    found.passed["no instruction, answer or vote"] += not used


def _vote(record: Record) -> Vote:
    said = str(record.fields["winner"]).strip().lower()
    winner = _WINNERS.get("tie" if said.startswith("tie") else said)
    if winner is None:
        raise ArenaError(
            f"the winner {said[:40]!r} is unknown", where=record.where, mend=f"one of {', '.join(_WINNERS)}"
        )
    prompt = next((record.fields[n] for n in ID if record.fields.get(n) is not None), "")
    a, b = safe_name(record.text("model_a")), safe_name(record.text("model_b"))
    return Vote(a, b, winner, safe_id(str(prompt)))


def _turns(record: Record, conversation: Any) -> list[dict[str, Any]]:
    """Return the turns up to the last of the user: what comes behind is an answer."""
    if conversation is None:
        return [{"role": "user", "content": record.text(*INSTRUCTION)}]
    if not isinstance(conversation, list) or not all(isinstance(t, dict) for t in conversation):
        raise ArenaError("a conversation must be a list of turns with role and content", where=record.where)
    turns = [{"role": t.get("role"), "content": t.get("content")} for t in conversation]
    while turns and turns[-1]["role"] != "user":
        turns.pop()
    return turns


def _extra(fields: dict[str, Any]) -> dict[str, Any]:
    wanted = ("category", "source", "language", "difficulty", "reference")
    return {name: fields[name] for name in wanted if isinstance(fields.get(name), str) and fields[name]}


def _id(record: Record) -> str:
    if any(record.fields.get(n) is not None for n in ID):
        return safe_id(record.text(*ID))
    text = record.text(*INSTRUCTION)
    return f"i-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
