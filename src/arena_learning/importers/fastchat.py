"""FastChat: MT-Bench's questions, answers and pairwise judgments; votes of Chatbot Arena, which `table` reads.

MT-Bench's second turns are skipped and counted: they continue each model's own first answer, so no two models answer
the same conversation.
"""

from __future__ import annotations

from typing import Any

from arena_learning.importers import table
from arena_learning.importers.collect import Collected
from arena_learning.importers.source import Record
from arena_learning.schema import is_missing, read_winner

READ = table.READ | {"g1_winner", "g2_winner", "model_1", "model_2", "turn", "choices"}


def take(record: Record, found: Collected, judge: str, contestant: str = "") -> None:
    """Add the contents of a record; if ``judge`` is given, judgments of other judges are skipped."""
    fields = record.fields
    if "g1_winner" in fields:
        _take_judgment(record, found, judge)
    elif "choices" in fields:
        found.add_answer(record, _id(record), record.text("model_id", "model"), _first_answer(record, found))
    elif isinstance(turns := fields.get("turns"), list) and turns and isinstance(turns[0], str):
        reference = fields.get("reference")
        found.passed["a second turn"] += len(turns) - 1
        found.add_instruction(
            record,
            id=_id(record),
            turns=[{"role": "user", "content": turns[0]}],
            category=str(fields.get("category") or "other"),
            source="mt-bench",
            reference=reference[0] if isinstance(reference, list) and reference else None,
        )
    elif not is_missing(said := fields.get("winner")) and read_winner(said) is None:
        found.passed[f"a vote for {str(said)[:30]!r}"] += 1
    else:
        numbered = {"question_id": _id(record)} if record.has("question_id") else {}  # as in question.jsonl
        table.take(record._replace(fields={**fields, **numbered}), found, contestant, judge)


def _take_judgment(record: Record, found: Collected, judge: str) -> None:
    """Add both games: model_1 is presented first in the first game, model_2 in the second."""
    fields = record.fields
    said = fields.get("judge")
    said = str(said[0] if isinstance(said, list) and said else said or "")
    if judge and said != judge:
        found.passed[f"a verdict of {said or 'an unnamed judge'}"] += 1
        return
    if record.has("turn") and record.text("turn") != "1":
        found.passed["a judgment of a second turn"] += 1
        return
    one, two = record.text("model_1"), record.text("model_2")
    for name, pair in (("g1_winner", (one, two)), ("g2_winner", (two, one))):
        winner = fields.get(name)
        share = {"tie": 0.5, "model_1": float(pair[1] == one), "model_2": float(pair[1] == two)}.get(
            str(winner)
        )
        if share is None:
            found.passed[f"a game that ended in {str(winner)[:30]!r}"] += 1
            continue
        found.add_verdict(record, _id(record), pair, share, known=True)


def _first_answer(record: Record, found: Collected) -> str:
    choices: Any = record.fields["choices"]
    turns = (
        choices[0].get("turns")
        if isinstance(choices, list) and choices and isinstance(choices[0], dict)
        else None
    )
    if not isinstance(turns, list) or not turns:
        return Record(record.where, {}).text("choices[0].turns")
    found.passed["another answer of the same contestant"] += len(choices) - 1
    found.passed["an answer to a second turn"] += len(turns) - 1
    first = turns[0]
    return Record(record.where, first if isinstance(first, dict) else {"content": first}).text("content")


def _id(record: Record) -> str:
    name = record.text("question_id")
    return f"mt-{name}" if name.isdigit() else record.id("question_id")
