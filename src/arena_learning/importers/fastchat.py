"""FastChat: MT-Bench's questions, answers and pairwise judgments, and the Arena's votes.

A second turn of MT-Bench continues each model's own first answer, so that no two models answer the same conversation:
second turns are passed over, and counted.
"""

from __future__ import annotations

from typing import Any

from arena_learning.importers.collect import Collected, Vote, safe_id, safe_name
from arena_learning.importers.source import Record

_WINNERS = {
    "model_a": "model_a",
    "model_b": "model_b",
    "tie": "tie",
    "tie (bothbad)": "tie",
    "both_bad": "tie",
}


def take(record: Record, found: Collected, judge: str) -> None:
    """Add what a record holds; judgments of another judge than ``judge`` (if named) are passed over."""
    fields = record.fields
    if "g1_winner" in fields:
        _take_judgment(record, found, judge)
    elif "choices" in fields:
        found.add_answer(
            record, _id(record), safe_name(record.text("model_id", "model")), _first_answer(record, found)
        )
    elif isinstance(fields.get("turns"), list) and fields["turns"]:
        turns = fields["turns"]
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
    elif {"model_a", "model_b", "winner"} <= fields.keys():
        winner = _WINNERS.get(str(fields["winner"]))
        if winner is None:
            found.passed[f"a vote for {str(fields['winner'])[:30]!r}"] += 1
            return
        prompt = fields.get("question_id")
        a, b = safe_name(record.text("model_a")), safe_name(record.text("model_b"))
        found.votes.append(Vote(a, b, winner, safe_id(str(prompt)) if prompt is not None else ""))
    else:
        found.passed["neither question, answer, pairwise judgment nor vote"] += 1


def _take_judgment(record: Record, found: Collected, judge: str) -> None:
    """Add both games: in the first, model_1 stood first, in the second model_2."""
    fields = record.fields
    said = fields.get("judge")
    said = str(said[0] if isinstance(said, list) and said else said or "")
    if judge and said != judge:
        found.passed[f"a verdict of {said or 'an unnamed judge'}"] += 1
        return
    if fields.get("turn", 1) != 1:
        found.passed["a judgment of a second turn"] += 1
        return
    one, two = safe_name(record.text("model_1")), safe_name(record.text("model_2"))
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
    found.passed["an answer to a second turn"] += len(turns) - 1
    first = turns[0]
    return Record(record.where, first if isinstance(first, dict) else {"content": first}).text("content")


def _id(record: Record) -> str:
    name = record.text("question_id")
    return f"mt-{name}" if name.isdigit() else safe_id(name)
