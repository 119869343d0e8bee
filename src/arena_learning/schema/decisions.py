"""The decisions about which model ships: rows of registry.json, and who is the champion after them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from arena_learning.core import ArenaError, read_json, write_json
from arena_learning.schema.row_files import describe_invalid
from arena_learning.schema.rows import Row

_HINT = "restore it from git: it records which models were promoted"


class Decision(Row):
    """One decision about which model ships: an entry of ``decisions`` in registry.json.

    Attributes:
        kind: ``promote`` (a round's model was compared with the champion) or ``rollback``.
        when: date and time, in UTC.
        round: the round whose model was compared, or to which the champion was moved back; ``base``: there is none.
        weights: SHA-256 of its weights, configuration and tokenizer; empty for the base.
        against: the model that it was compared with, or that was the champion before a rollback.
        accepted: whether the champion was moved.
        reasons: why it was not.
        leaderboard: MD5 of reports/leaderboard.json, as in dvc.lock.
        figures: the comparison, as in data/arena/gate.json.
    """

    kind: Literal["promote", "rollback"]
    when: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
    round: str = Field(min_length=1)
    weights: str = ""
    against: str = ""
    accepted: bool
    reasons: tuple[str, ...] = ()
    leaderboard: str = ""
    figures: dict[str, Any] = Field(default_factory=dict)


def read_decisions(path: Path) -> list[Decision]:
    """Return the decisions of a registry.json, in order; none if there is no such file.

    Raises:
        ArenaError: the file is malformed.
    """
    if not path.is_file():
        return []
    content = read_json(path)
    rows = content.get("decisions") if isinstance(content, dict) else None
    if not isinstance(rows, list):
        raise ArenaError("expected an object with a list 'decisions'", where=str(path), hint=_HINT)
    decisions = []
    for number, row in enumerate(rows, 1):
        try:
            decisions.append(Decision.model_validate(row))
        except ValidationError as error:
            where = f"{path}, decision {number}"
            raise ArenaError(describe_invalid(error), where=where, hint=_HINT) from None
    return decisions


def write_decisions(path: Path, decisions: Sequence[Decision]) -> None:
    """Write all decisions to a registry.json, atomically."""
    write_json(path, {"decisions": [decision.model_dump(mode="json") for decision in decisions]})


def past_champions(decisions: Sequence[Decision]) -> list[Decision]:
    """Return the promotions that count, oldest first: the last one's model is the champion.

    A promotion adds one; a rollback removes those above the model that it goes back to.

    Example:
        >>> def made(kind, round, **more):
        ...     return Decision(kind=kind, when="2026-01-01T00:00:00Z", round=round, accepted=True, **more)
        >>> told = [made("promote", "sft-i1"), made("promote", "dpo-i1"), made("rollback", "sft-i1")]
        >>> [decision.round for decision in past_champions(told)]
        ['sft-i1']
    """
    champions: list[Decision] = []
    for decision in decisions:
        if decision.kind == "promote" and decision.accepted:
            champions.append(decision)
        while decision.kind == "rollback" and champions and not _same(champions[-1], decision):
            champions.pop()
    return champions


def _same(one: Decision, other: Decision) -> bool:
    return (one.round, one.weights) == (other.round, other.weights)
