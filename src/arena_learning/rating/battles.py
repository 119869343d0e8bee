"""Battles as integer columns: the checked input of every fit."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from arena_learning.core import ArenaError
from arena_learning.rating.arrays import Bools, Codes, Floats
from arena_learning.rating.columns import (
    REQUIRED,
    Sides,
    Where,
    check_required,
    known_columns,
    read_contestants,
    read_numbers,
    read_points,
    read_prompts,
    read_sides,
)

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Battles:
    """Battles with contestants' names replaced by codes.

    Attributes:
        models: the contestants' names, sorted; codes are indices into it.
        a: code of the first contestant, ``(rows,)``.
        b: code of the second contestant, ``(rows,)``.
        points: half-points of the first contestant: 2 won, 1 tied, 0 lost, ``(rows,)``.
        count: number of equal battles that a row stands for, or None for one each.
        weight: weight of each battle of a row in the fit (0 or more), or None for 1.
        prompt: code of the prompt, ``(rows,)``, or None if prompts are unknown.
        prompts: number of distinct prompts (0 if they are unknown).
        sides: measures of both answers (``score``, ``length``, ``headers``, ``lists``, ``bold``).
        passed: number of skipped rows, by reason.
    """

    models: tuple[str, ...]
    a: Codes
    b: Codes
    points: NDArray[np.int8]
    count: Floats | None = None
    weight: Floats | None = None
    prompt: Codes | None = None
    prompts: int = 0
    sides: dict[str, Sides] = field(default_factory=dict)
    passed: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.a)

    @property
    def repeats(self) -> Floats:
        """Number of battles of each row, ``(rows,)``."""
        return np.ones(len(self)) if self.count is None else self.count

    @property
    def mass(self) -> Floats | None:
        """Count times weight of each row, ``(rows,)``, or None if all are 1."""
        if self.count is None:
            return self.weight
        return self.count if self.weight is None else self.count * self.weight


def battles_from_frame(table: pd.DataFrame, source: str = "battles", *, skip_bad: bool = False) -> Battles:
    """Read battles from a pandas table.

    Args:
        table: columns ``model_a``, ``model_b``, ``winner`` (in any spelling that `votes.read_winner` knows; or
            ``winner_model_a``, ``winner_model_b`` and ``winner_tie`` of 0 and 1); optional ``count``, ``weight``,
            ``prompt_id``, and in pairs ``score_a`` / ``score_b``, ``length_a`` / ``length_b``, ``headers_*``,
            ``lists_*``, ``bold_*``.
        source: the table's name in errors.
        skip_bad: skip and count malformed rows; otherwise the first one is an error.

    Returns:
        The battles, without rows whose count is 0 and without rows that have no winner, which are counted.

    Raises:
        ArenaError: a column is missing, the table is empty, a winner is unknown, a contestant meets itself, a name or
            prompt is missing, or a number is negative or not a number; with the row (the first is 1).

    Example:
        >>> import pandas as pd
        >>> battles_from_frame(pd.DataFrame({"model_a": ["x"], "model_b": ["y"], "winner": ["Tie (bothbad)"]})).points
        array([1], dtype=int8)
    """
    import pyarrow as pa

    names = [str(name) for name in table.columns]
    wanted = [name for name in known_columns() if name in names]
    columns = {}
    for name in wanted:
        column = table[name]
        if name in (*REQUIRED, "prompt_id") and column.dtype == object:
            # Arrow has no mixed columns, but ids may be 7 in one row and "7b" in the next.
            column = column.map(str, na_action="ignore")
        try:
            columns[name] = pa.chunked_array([pa.array(column, from_pandas=True)])
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            columns[name] = pa.chunked_array(
                [pa.array(column.map(str, na_action="ignore"), from_pandas=True)]
            )
    return battles_from_arrow(pa.table(columns), Where(source, skip_bad=skip_bad), present=names)


def battles_from_arrow(table: pa.Table, where: Where, present: list[str] | None = None) -> Battles:
    """Read battles from an Arrow table; columns and errors are those of `battles_from_frame`.

    Args:
        table: the columns to read; unknown ones are ignored.
        where: names rows in errors.
        present: names of all columns of the source, for the error about a missing one.
    """
    present = table.column_names if present is None else present
    check_required(present, where.source)
    if table.num_rows == 0:
        raise ArenaError("there are no battles in it", where=where.source, hint="give at least one row")
    points = read_points(table, where)  # first, because a row without a winner may lack other values too
    models, a, b = read_contestants(table, where)
    prompt, prompts = read_prompts(table, where)
    battles = Battles(
        models=models,
        a=a,
        b=b,
        points=points,
        count=read_numbers(table, "count", where, whole=True),
        weight=read_numbers(table, "weight", where),
        prompt=prompt,
        prompts=prompts,
        sides=read_sides(table, where),
        passed=dict(sorted(where.passed.items())),
    )
    if where.good is not None:
        if not where.good.any():
            raise ArenaError(
                "there are no battles in it", where=where.source, hint=f"passed over: {battles.passed}"
            )
        battles = replace(take_rows(battles, where.good), passed=dict(sorted(where.passed.items())))
    return _without_empty_rows(battles, where)


def _without_empty_rows(battles: Battles, where: Where) -> Battles:
    mass = battles.mass
    if mass is None or bool((mass > 0).all()):
        return battles
    rows = np.flatnonzero(mass > 0)
    if not len(rows):
        raise ArenaError(
            "all counts or weights are 0", where=where.source, hint="give at least one that is not"
        )
    return replace(take_rows(battles, rows), passed=battles.passed)


def take_rows(battles: Battles, rows: NDArray[np.intp] | Bools) -> Battles:
    """Return the battles of some rows, without contestants and prompts that no longer occur."""
    a, b = battles.a[rows], battles.b[rows]
    kept = np.unique(np.concatenate([a, b]))
    place = np.full(len(battles.models), -1, dtype=np.int32)
    place[kept] = np.arange(len(kept), dtype=np.int32)
    prompt, prompts = None, 0
    if battles.prompt is not None:
        held, inverse = np.unique(battles.prompt[rows], return_inverse=True)
        prompt, prompts = inverse.astype(np.int32), len(held)
    return Battles(
        models=tuple(battles.models[i] for i in kept),
        a=place[a],
        b=place[b],
        points=battles.points[rows],
        count=None if battles.count is None else battles.count[rows],
        weight=None if battles.weight is None else battles.weight[rows],
        prompt=prompt,
        prompts=prompts,
        sides={name: Sides(side.a[rows], side.b[rows]) for name, side in battles.sides.items()},
    )
