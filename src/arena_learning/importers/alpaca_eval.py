"""AlpacaEval: ``alpaca_eval.json``, ``model_outputs.json``, ``annotations.json``, and the same as flat tables.

A preference is 1 for the baseline, 2 for the model, a number in between if graded, and 1.5 or 0 for a tie. The order in
which the judge saw the two is not recorded. Instructions without an id get one from a hash of their text.
"""

from __future__ import annotations

import hashlib

from arena_learning.core import ArenaError
from arena_learning.importers.collect import Collected
from arena_learning.importers.source import Record
from arena_learning.schema import is_missing

NO_PREFERENCE = "no preference given"
READ = frozenset(
    "preference output text instruction generator contestant model baseline generator_1 generator_2 output_1 output_2 "
    "judge annotator instruction_id id source dataset".split()
)


def take(record: Record, found: Collected, judge: str) -> None:
    """Add the contents of a record; if ``judge`` is given, verdicts of other judges are skipped."""
    fields = record.fields
    if "preference" in fields:
        _take_preference(record, found, judge)
    elif {"output", "text"} & fields.keys():
        if fields.get("instruction") is not None:
            _take_instruction(record, found)
        name = record.text("generator", "contestant", "model")
        found.add_answer(record, _id(record), name, record.text("output", "text"))
    elif "instruction" in fields:
        _take_instruction(record, found)
    else:
        found.passed["neither instruction, output nor preference"] += 1


def _take_instruction(record: Record, found: Collected) -> None:
    text = record.text("instruction")
    found.add_instruction(
        record,
        id=_id(record),
        turns=[{"role": "user", "content": text}],
        source=str(record.fields.get("source") or record.fields.get("dataset") or "alpaca_eval"),
    )


def _take_preference(record: Record, found: Collected, judge: str) -> None:
    said = record.fields.get("judge") or record.fields.get("annotator") or ""
    if judge and said != judge:
        found.passed[f"a verdict of {said or 'an unnamed judge'}"] += 1
        return
    if is_missing(record.fields["preference"]):
        found.passed[NO_PREFERENCE] += 1
        return
    preference = record.number("preference")
    share = 0.5 if preference == 0 else preference - 1
    if not 0 <= share <= 1:
        raise ArenaError(f"the preference {preference:g} is not between 1 and 2", where=record.where)
    pair = record.text("baseline", "generator_1"), record.text("model", "generator_2")
    if record.fields.get("instruction") is not None:
        _take_instruction(record, found)
        for name, text in zip(pair, ("output_1", "output_2"), strict=True):
            if isinstance(record.fields.get(text), str):
                found.add_answer(record, _id(record), name, record.text(text))
            elif text in record.fields:
                found.passed["an answer that is no text"] += 1
    found.add_verdict(record, _id(record), pair, share, known=False)


def _id(record: Record) -> str:
    if record.first("instruction_id", "id"):
        return record.id("instruction_id", "id")
    text = record.text("instruction")
    return f"alpaca-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
