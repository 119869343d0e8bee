"""Arena-Hard: questions, answers and judgments of both versions.

All games of a judgment are against one baseline, which is A in the first game and B in the second. ``A>>B`` scores 10
to 1, ``A>B`` 7.75 to 3.25.
"""

from __future__ import annotations

from typing import Any

from arena_learning.importers.collect import Collected
from arena_learning.importers.source import Record

DEFAULT_BASELINE = "gpt-4-0314"
READ = frozenset(
    "games judge baseline model model_id choices messages turns prompt category question_id uid answer".split()
)
_SHARES = {
    "A>>B": 0.0,
    "A>B": 0.25,
    "A=B": 0.5,
    "B=A": 0.5,
    "B>A": 0.75,
    "B>>A": 1.0,
    "A<B": 0.75,
    "A<<B": 1.0,
}


def take(record: Record, found: Collected, judge: str, baseline: str = "") -> None:
    """Add the contents of a record; if ``judge`` is given, judgments of other judges are skipped."""
    fields = record.fields
    if "games" in fields:
        _take_judgment(record, found, judge, baseline)
    elif "choices" in fields or "messages" in fields:
        found.add_answer(record, _id(record), record.text("model_id", "model"), _answer(record, found))
    elif "turns" in fields or "prompt" in fields:
        found.add_instruction(
            record,
            id=_id(record),
            turns=[{"role": "user", "content": _question(record, found)}],
            category=str(fields.get("category") or "other"),
            source="arena-hard",
        )
    else:
        found.passed["neither question, answer nor judgment"] += 1


def _take_judgment(record: Record, found: Collected, judge: str, baseline: str) -> None:
    said = str(record.fields.get("judge") or "")
    if judge and said != judge:
        found.passed[f"a verdict of {said or 'an unnamed judge'}"] += 1
        return
    base = str(record.fields.get("baseline") or baseline or DEFAULT_BASELINE)
    model = record.text("model")
    games = record.fields["games"]
    if not isinstance(games, list) or not games:
        found.passed["a judgment without games"] += 1
        return
    for number, game in enumerate(games):
        score = game.get("score") if isinstance(game, dict) else None
        share = _SHARES.get(score.strip()) if isinstance(score, str) else None
        if share is None:
            found.passed["a game without a verdict"] += 1
            continue
        pair = (base, model) if number % 2 == 0 else (model, base)
        found.add_verdict(record, _id(record), pair, share, known=True)


def _question(record: Record, found: Collected) -> str:
    turns = record.fields.get("turns")
    if isinstance(turns, list) and turns:
        found.passed["a second turn"] += len(turns) - 1
        return _text(record, turns[0])
    return record.text("prompt")


def _answer(record: Record, found: Collected) -> str:
    choices, messages = record.fields.get("choices"), record.fields.get("messages")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        turns = choices[0].get("turns")
        if isinstance(turns, list) and turns:
            found.passed["another answer of the same contestant"] += len(choices) - 1
            found.passed["an answer to a second turn"] += len(turns) - 1
            return _text(record, turns[0])
    if isinstance(messages, list) and messages and isinstance(messages[-1], dict):
        return _text(record, messages[-1])
    return record.text("answer")


def _text(record: Record, item: Any) -> str:
    """Return the text of a turn given as text, ``{"content": text}`` or ``{"content": {"answer": text}}``."""
    for key in ("content", "answer"):
        item = item.get(key, item) if isinstance(item, dict) else item
    return Record(record.where, {"content": item}).text("content")


def _id(record: Record) -> str:
    return record.id("question_id", "uid")
