"""The metrics files and cards that the stages of a round have written so far."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from arena_learning.core import ArenaError, Paths, read_json
from arena_learning.params import Params, Round

Document = Mapping[str, Any]


class RoundFiles(NamedTuple):
    """The files of one round; an empty mapping for a stage that has not run."""

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


def read_rounds(params: Params, paths: Paths) -> dict[str, RoundFiles]:
    """Read the files of all rounds, in order.

    Raises:
        ArenaError: an existing file is malformed.
    """
    return {name: _read_round(name, params.rounds[name], paths) for name in params.ordered_rounds}


def _read_round(name: str, this: Round, paths: Paths) -> RoundFiles:
    battle, judge, train = (
        read_document(paths.stage_metrics(name, stage)) for stage in ("battle", "judge", "train")
    )
    return RoundFiles(
        name, this, battle=battle, judge=judge, card=read_document(paths.card(name)), train=train
    )


def phases(train: Document) -> list[Document]:
    """Return the trainers that ran, in order."""
    return records_at(train, "phases")


def training_curve(train: Document) -> list[Document]:
    """Return the training curve: points with their ``phase``, from one list or from the lists of the phases."""
    if "curve" in train:
        return records_at(train, "curve")
    return [
        {"phase": phase.get("name"), **point}
        for phase in phases(train)
        for point in records_at(phase, "curve")
    ]


def read_document(path: Path) -> Document:
    """Return a JSON object, or an empty mapping if there is no such file.

    Raises:
        ArenaError: the file is not JSON or not an object.
    """
    if not path.is_file():
        return {}
    value = read_json(path)
    if not isinstance(value, dict):
        raise ArenaError(
            f"expected a JSON object, found {type(value).__name__}",
            where=str(path),
            hint="make it again: `dvc repro --force` with the name of its stage",
        )
    return value


def number_at(value: object, *keys: str) -> float | None:
    """Return the finite number below ``keys``; None for absent, empty and infinite figures, which are not shown."""
    for key in keys:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def mapping_at(value: object, *keys: str) -> Document:
    """Return the mapping below ``keys``, or an empty one."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def records_at(value: object, *keys: str) -> list[Document]:
    """Return the mappings of the list below ``keys``, or an empty list."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list | tuple) else []
