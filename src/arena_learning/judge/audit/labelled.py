"""Labelled pairs: two answers and a label that says which is better. Judges are audited on them."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pydantic_core
from pydantic import ValidationError

from arena_learning.core import ArenaError, missing_file, numbered_lines, split_text, with_single_spaces
from arena_learning.importers import (
    CONVERSATION,
    INSTRUCTION,
    LabelledPair,
    OddError,
    Record,
    exchange_of,
    has_winner,
    is_lines,
    parsed,
    records,
    winner_of,
    without_replaced,
)
from arena_learning.schema import NO_WINNER, Instruction, Response, Turn, describe_invalid, parse_criterion

__all__ = ["SIDES", "Labelled", "LabelledPair", "read_labelled"]

SIDES = ("a", "b")
_LISTS = ("turns", "rubric")
_NEEDED = (
    "needed: id, instruction (or turns), response_a, response_b, label (model_a, model_b, tie, or the like)"
)


class Labelled(NamedTuple):
    """Labelled pairs, and their instructions and responses for a judge: each pair's contestants are ``a`` and ``b``.

    ``clusters`` identify the pairs' instructions, because pairs of one instruction are not independent. ``passed``
    counts the rows that are no usable pairs, by reason (no label, several turns).
    """

    pairs: list[LabelledPair]
    instructions: dict[str, Instruction]
    responses: dict[tuple[str, str], Response]
    clusters: list[str]
    passed: Mapping[str, int]


def read_labelled(path: Path, *, sample: int = 0, seed: int = 0) -> Labelled:
    """Read labelled pairs from JSON Lines, JSON, CSV or Parquet, plain or gzipped (``.gz``), or a folder of such files.

    A row is a `LabelledPair`. Its label may also be a vote's spelling, a column ``winner`` or three columns of 0 and 1;
    its answers may also be in ``conversation_a`` and ``conversation_b`` (see `importers.pairs`).

    Args:
        path: the file or folder.
        sample: the number of pairs to draw at random; 0 for all.
        seed: seed of the draw.

    Raises:
        ArenaError: no such file, or a malformed row; the error names file and line.
    """
    pairs: dict[str, LabelledPair] = {}
    passed: Counter[str] = Counter()
    asked: dict[str, Instruction] = {}
    for record in without_replaced(_records(path)):
        pair = _pair(record, passed)
        if pair is None:
            continue
        if pair.id in pairs:
            raise ArenaError(
                f"the id {pair.id!r} is used twice",
                where=record.where,
                hint="give each pair an id of its own",
            )
        pairs[pair.id] = pair
        asked[pair.id] = _instruction(pair, record.where)
    if not pairs:
        hint = f"passed over: {dict(passed)}" if passed else ""
        raise ArenaError("no labelled pairs in it", where=str(path), hint=hint)
    rows = list(pairs.values())
    if 0 < sample < len(rows):
        rows = [rows[i] for i in sorted(random.Random(seed).sample(range(len(rows)), sample))]
    instructions, clusters = {}, []
    for number, pair in enumerate(rows):
        instruction = asked[pair.id].model_copy(update={"id": f"pair-{number:06d}"})
        whole = json.dumps([turn.model_dump() for turn in instruction.turns])
        clusters.append(hashlib.sha256(whole.encode()).hexdigest())
        instructions[pair.id] = instruction
    responses = {
        (instructions[pair.id].id, side): _response(instructions[pair.id].id, side, text)
        for pair in rows
        for side, text in zip(SIDES, (pair.response_a, pair.response_b), strict=True)
    }
    return Labelled(rows, {i.id: i for i in instructions.values()}, responses, clusters, dict(passed))


def _records(path: Path) -> Iterator[Record]:
    """Yield the file's rows; JSON Lines are read strictly, so an invalid character is an error."""
    if path.is_dir():
        yield from records(path)
        return
    if not path.is_file():
        raise missing_file(path, "no such file of labelled pairs", f"({_NEEDED})")
    if not is_lines(path):
        yield from records(path)
        return
    for number, line in numbered_lines(path):
        where = f"{path}, line {number}"
        try:
            fields = pydantic_core.from_json(line)
        except ValueError as error:
            raise ArenaError(f"Invalid JSON: {error}", where=where, hint=_NEEDED) from None
        if not isinstance(fields, dict):
            raise ArenaError("expected an object", where=where, hint=_NEEDED)
        yield Record(where, fields)


def _pair(record: Record, passed: Counter[str]) -> LabelledPair | None:
    """Return a row's pair; for an unusable row count the reason and return None."""
    fields = dict(record.fields)
    label = winner_of(record) if has_winner(fields) else None
    if has_winner(fields) and label is None:
        passed[NO_WINNER] += 1
        return None
    if label is not None:
        fields["label"] = label
    if not isinstance(fields.get("response_a"), str) or not fields.keys() & {"instruction", "turns"}:
        try:
            exchange = exchange_of(record)
        except OddError as odd:
            passed[odd.reason] += 1
            return None
        if exchange is not None and exchange.later:
            passed["a label of several turns"] += 1
            return None
        if exchange is not None and not all(exchange.answers):
            passed["an empty answer"] += 1
            return None
        if exchange is not None:
            fields["turns"] = exchange.turns
            fields["response_a"], fields["response_b"] = exchange.answers
            fields = {
                k: v for k, v in fields.items() if k == "turns" or k not in (*INSTRUCTION, *CONVERSATION)
            }
    return _valid({k: v for k, v in fields.items() if v is not None and (v != "" or k not in _LISTS)}, record)


def _valid(fields: dict[str, Any], record: Record) -> LabelledPair:
    for name in _LISTS:  # a cell of a CSV file
        if isinstance(text := fields.get(name), str):
            fields[name] = parsed(text, record.where)
    if not isinstance(fields.get("id"), str) and (held := record.first("id", "question_id", "pair_id")):
        fields["id"] = record.text(held)
    try:
        return LabelledPair.model_validate_json(json.dumps(fields, default=str))
    except ValidationError as error:
        hint = "`arena import` makes labelled.jsonl of chosen and rejected" if "chosen" in fields else _NEEDED
        raise ArenaError(describe_invalid(error), where=record.where, hint=hint) from None


def _instruction(pair: LabelledPair, where: str) -> Instruction:
    """Return the instruction as the judge sees it; `read_labelled` sets the id after the draw."""
    try:
        instruction = Instruction(
            id="pair",
            turns=pair.turns or (Turn(role="user", content=pair.instruction),),
            category=pair.category,
            source=pair.source,
            reference=pair.reference,
            rubric=pair.rubric,
        )
    except ValidationError as error:
        hint = "the turns must end with the user's; the answers belong in response_a and response_b"
        raise ArenaError(describe_invalid(error), where=where, hint=hint) from None
    for place, raw in enumerate(pair.rubric, 1):
        parse_criterion(raw, f"{where}, rubric criterion {place}")
    return instruction


def _response(instruction_id: str, side: str, text: str) -> Response:
    """Return an answer as the judge sees it: without a thought in front, like every contestant's."""
    text = split_text(text).text
    tokens = len(with_single_spaces(text).split())
    return Response(
        instruction_id=instruction_id,
        contestant=side,
        text=text,
        finish_reason="stop",
        prompt_tokens=0,
        completion_tokens=tokens,
    )
