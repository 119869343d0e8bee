"""Pairs of answers with a label that says which is better: what judges are audited on."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import ConfigDict, Field, ValidationError, model_validator

from arena_learning.errors import ArenaError
from arena_learning.rows import Instruction, Response, Row, Turn, describe_invalid
from arena_learning.texts import spaced

SIDES = ("a", "b")


class LabelledPair(Row):
    """One line: an instruction (a text, or ``turns``), two answers, and a label; other keys may stand beside these."""

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


class Labelled(NamedTuple):
    """Labelled pairs, and what a judge is shown of them: contestants ``a`` and ``b`` on an instruction a pair.

    ``clusters`` are the pairs' instructions: pairs of one instruction are not independent.
    """

    pairs: list[LabelledPair]
    instructions: dict[str, Instruction]
    responses: dict[tuple[str, str], Response]
    clusters: list[str]


def read_labelled(path: Path, *, sample: int = 0, seed: int = 0) -> Labelled:
    """Read labelled pairs from JSON Lines, packed (``.gz``) or not.

    Args:
        path: the file.
        sample: keep so many pairs, drawn at random; 0 for all.
        seed: of the draw.

    Raises:
        ArenaError: no such file, or a malformed line; names file and line.
    """
    pairs: dict[str, LabelledPair] = {}
    for number, line in enumerate(_text(path).split("\n"), 1):
        if line.strip():
            pair = _parse(line, f"{path}, line {number}")
            if pair.id in pairs:
                raise ArenaError(f"the id {pair.id!r} is used already", where=f"{path}, line {number}")
            pairs[pair.id] = pair
    if not pairs:
        raise ArenaError("no labelled pairs in it", where=str(path))
    rows = list(pairs.values())
    if 0 < sample < len(rows):
        rows = [rows[i] for i in sorted(random.Random(seed).sample(range(len(rows)), sample))]
    instructions, clusters = {}, []
    for number, pair in enumerate(rows):
        turns = pair.turns or (Turn(role="user", content=pair.instruction),)
        whole = json.dumps([turn.model_dump() for turn in turns])
        clusters.append(hashlib.sha256(whole.encode()).hexdigest())
        instructions[pair.id] = Instruction(
            id=f"pair-{number:06d}",
            turns=turns,
            category=pair.category,
            source=pair.source,
            reference=pair.reference,
            rubric=pair.rubric,
        )
    responses = {
        (instructions[pair.id].id, side): _response(instructions[pair.id].id, side, text)
        for pair in rows
        for side, text in zip(SIDES, (pair.response_a, pair.response_b), strict=True)
    }
    return Labelled(rows, {i.id: i for i in instructions.values()}, responses, clusters)


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
        return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8-sig")
    except FileNotFoundError:
        raise ArenaError("no such file of labelled pairs", where=str(path)) from None
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ArenaError(f"cannot be read: {error}", where=str(path)) from None


def _parse(line: str, where: str) -> LabelledPair:
    mend = "needed: id, instruction (or turns), response_a, response_b, label (model_a, model_b, tie)"
    try:
        return LabelledPair.model_validate_json(line)
    except ValidationError as error:
        raise ArenaError(describe_invalid(error), where=where, mend=mend) from None


def _response(instruction_id: str, side: str, text: str) -> Response:
    tokens = len(spaced(text).split())
    return Response(
        instruction_id=instruction_id,
        contestant=side,
        text=text,
        finish_reason="stop",
        prompt_tokens=0,
        completion_tokens=tokens,
    )
