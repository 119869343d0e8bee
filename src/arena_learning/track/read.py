"""The files that stages leave, read as far as they are there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from arena_learning.board.evaluate import read_arena_battles
from arena_learning.errors import ArenaError
from arena_learning.params import Params, Round
from arena_learning.paths import Paths
from arena_learning.rows import Battle, read_json

Document = Mapping[str, Any]


class RoundFiles(NamedTuple):
    """What the stages of one round say of themselves; an empty mapping where a stage has not run."""

    name: str
    this: Round
    battle: Document
    judge: Document
    card: Document
    train: Document

    @property
    def empty(self) -> bool:
        """Whether no stage has run."""
        return not (self.battle or self.judge or self.card or self.train)


class Files(NamedTuple):
    """All that is shown, except what the runs' tables and datasets read for themselves.

    Attributes:
        rounds: by name, in order.
        board: the leaderboard, or an empty mapping.
        arena: the battles of the test set by the judge's name.
    """

    rounds: dict[str, RoundFiles]
    board: Document
    arena: dict[str, list[Battle]]


def read_files(params: Params, paths: Paths) -> Files:
    """Read the metrics files, cards and the leaderboard.

    Raises:
        ArenaError: a file that is there is malformed.
    """
    rounds = {name: _read_round(name, params.rounds[name], paths) for name in params.ordered_rounds}
    found = read_arena_battles(paths) if paths.arena_battles.is_file() else {}
    # The file that names the judges is sorted by name; the first one is who the others are held against.
    arena = {
        judge: found[judge] for judge in dict.fromkeys([*params.evaluate.judges, *found]) if judge in found
    }
    return Files(rounds, document(paths.leaderboard), arena)


def _read_round(name: str, this: Round, paths: Paths) -> RoundFiles:
    battle, judge, train = (
        document(paths.stage_metrics(name, stage)) for stage in ("battle", "judge", "train")
    )
    return RoundFiles(name, this, battle=battle, judge=judge, card=document(paths.card(name)), train=train)


def document(path: Path) -> Document:
    """Return a JSON object, or an empty mapping if there is no such file.

    Raises:
        ArenaError: the file is not JSON, or no object.
    """
    if not path.is_file():
        return {}
    value = read_json(path)
    if not isinstance(value, dict):
        raise ArenaError(
            f"expected a JSON object, found {type(value).__name__}",
            where=str(path),
            mend="run the stage that makes it again: `dvc repro --force` with the stage's name",
        )
    return value


def number(value: object, *keys: str) -> float | None:
    """Return the finite number below ``keys``, or None: absent, empty and infinite figures are not shown."""
    for key in keys:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def mapping(value: object, *keys: str) -> Document:
    """Return the mapping below ``keys``, or an empty one."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def records(value: object, *keys: str) -> list[Document]:
    """Return the mappings of the list below ``keys``, or an empty list."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list | tuple) else []
