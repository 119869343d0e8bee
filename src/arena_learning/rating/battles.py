"""Battles as integer columns: what every fit starts from, checked once and with row numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from arena_learning.errors import ArenaError, suggest
from arena_learning.rating.arrays import Bools, Codes, Floats

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

REQUIRED = ("model_a", "model_b", "winner")
# A verdict and the half-points it gives to model_a.
VERDICTS = {"model_a": 2, "model_b": 0, "tie": 1, "tie (bothbad)": 1}
# What a side brings along; each stands in two columns, `<name>_a` and `<name>_b`.
SIDE_COLUMNS = ("score", "length", "headers", "lists", "bold")


class Sides(NamedTuple):
    """One measured quantity of both answers, a row a battle."""

    a: Floats
    b: Floats


@dataclass(frozen=True)
class Battles:
    """Battles with their names turned into codes.

    Attributes:
        models: the contestants' names, sorted; codes index into it.
        a: code of the first contestant, ``(rows,)``.
        b: code of the second contestant, ``(rows,)``.
        points: half-points of the first contestant: 2 won, 1 tied, 0 lost, ``(rows,)``.
        count: how many equal battles a row stands for (whole numbers), or None for one each.
        weight: how much each battle of a row counts in the fit (0 or more), or None for 1.
        prompt: code of the prompt, ``(rows,)``, or None where prompts are not known.
        prompts: number of distinct prompts (0 where they are not known).
        sides: what was measured of both answers (``score``, ``length``, ``headers``, ``lists``, ``bold``).
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

    def __len__(self) -> int:
        return len(self.a)

    @property
    def repeats(self) -> Floats:
        """How many battles each row stands for, ``(rows,)``."""
        return np.ones(len(self)) if self.count is None else self.count

    @property
    def mass(self) -> Floats | None:
        """Count times weight of each row, ``(rows,)``, or None where all are 1."""
        if self.count is None:
            return self.weight
        return self.count if self.weight is None else self.count * self.weight


class Where:
    """Names the row of a table in the words of the file it came from."""

    def __init__(self, source: str, first_line: int = 0) -> None:
        self.source, self.first_line = source, first_line

    def row(self, index: int) -> str:
        """Return ``source: row N`` for the 0-based ``index``, and the line of the file if known."""
        line = f" (line {index + self.first_line})" if self.first_line else ""
        return f"{self.source}: row {index + 1}{line}"


def battles_from_frame(table: pd.DataFrame, source: str = "battles") -> Battles:
    """Read battles from a pandas table.

    Args:
        table: columns ``model_a``, ``model_b``, ``winner`` (``model_a``, ``model_b``, ``tie`` or
            ``tie (bothbad)``); optional ``count``, ``weight``, ``prompt_id``, and in pairs ``score_a`` /
            ``score_b``, ``length_a`` / ``length_b``, ``headers_*``, ``lists_*``, ``bold_*``.
        source: what errors call the table.

    Returns:
        The battles; rows whose count is 0 are left out.

    Raises:
        ArenaError: a column is missing, the table is empty, a verdict is unknown, a contestant meets itself,
            a name or prompt is missing, or a number is negative or not a number; with the row (1 is the
            first).
    """
    import pyarrow as pa

    names = [str(name) for name in table.columns]
    wanted = [name for name in known_columns() if name in names]
    columns = {}
    for name in wanted:
        column = table[name]
        if name in (*REQUIRED, "prompt_id") and column.dtype == object:
            # Arrow takes no mixed column; ids may well be 7 in one row and "7b" in the next.
            column = column.map(str, na_action="ignore")
        try:
            columns[name] = pa.chunked_array([pa.array(column, from_pandas=True)])
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            columns[name] = pa.chunked_array(
                [pa.array(column.map(str, na_action="ignore"), from_pandas=True)]
            )
    return battles_from_arrow(pa.table(columns), Where(source), present=names)


def battles_from_arrow(table: pa.Table, where: Where, present: list[str] | None = None) -> Battles:
    """Read battles from an Arrow table; columns and errors as in `battles_from_frame`.

    Args:
        table: the columns that the room knows (others are ignored).
        where: names rows in errors.
        present: the names of all columns of the source, for the error about a missing one.
    """
    present = table.column_names if present is None else present
    for name in REQUIRED:
        if name not in present:
            raise ArenaError(f"no column {name!r}", where=where.source, mend=suggest(name, present))
    if table.num_rows == 0:
        raise ArenaError("no battles in it", where=where.source, mend="give at least one row")
    models, a, b = _contestants(table, where)
    points = _points(table, where)
    prompt, prompts = _prompts(table, where)
    battles = Battles(
        models=models,
        a=a,
        b=b,
        points=points,
        count=_numbers(table, "count", where, whole=True),
        weight=_numbers(table, "weight", where),
        prompt=prompt,
        prompts=prompts,
        sides=_sides(table, where),
    )
    return _without_empty_rows(battles, where)


def known_columns() -> list[str]:
    """Return the names of all columns that the room reads."""
    sides = [f"{name}_{side}" for name in SIDE_COLUMNS for side in "ab"]
    return [*REQUIRED, "count", "weight", "prompt_id", *sides]


def _codes(table: pa.Table, name: str, where: Where) -> tuple[pa.Array, Codes]:
    """Return a column's distinct values and each row's index into them; a missing value is an error."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = table.column(name)
    if not pa.types.is_dictionary(column.type):
        column = pc.dictionary_encode(column)
    array = column.unify_dictionaries().combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    indices, values = array.indices, array.dictionary
    if indices.null_count:
        row = int(np.flatnonzero(np.asarray(indices.is_null()))[0])
        raise ArenaError(f"{name} is missing", where=where.row(row))
    # Not to_numpy: it loads pandas, which takes longer than all of a fit. Indices are int8 to int64.
    kind = np.dtype(str(indices.type))
    codes = np.frombuffer(
        indices.buffers()[1], dtype=kind, count=len(indices), offset=indices.offset * kind.itemsize
    )
    codes = codes.astype(np.int32, copy=False)
    empty = pc.fill_null(pc.equal(pc.cast(values, pa.string()), ""), True)
    for code in pc.indices_nonzero(empty).to_pylist():
        rows = np.flatnonzero(codes == code)
        if len(rows):
            raise ArenaError(f"{name} is empty", where=where.row(int(rows[0])))
    return values, codes


def _contestants(table: pa.Table, where: Where) -> tuple[tuple[str, ...], Codes, Codes]:
    """Return the sorted names and both contestants' codes."""
    sides = []
    for name in ("model_a", "model_b"):
        values, codes = _codes(table, name, where)
        used = np.bincount(codes, minlength=len(values)) > 0
        sides.append(([str(value) for value in values.to_pylist()], codes, used))
    models = sorted(
        {name for values, _, used in sides for name, is_used in zip(values, used, strict=True) if is_used}
    )
    place = {name: i for i, name in enumerate(models)}
    a, b = (
        np.array([place.get(name, -1) for name in values], dtype=np.int32)[codes]
        for values, codes, _ in sides
    )
    same = a == b
    if same.any():
        row = int(np.argmax(same))
        raise ArenaError(f"{models[a[row]]!r} meets itself", where=where.row(row), mend="remove the row")
    return tuple(models), a, b


def _points(table: pa.Table, where: Where) -> NDArray[np.int8]:
    verdicts, codes = _codes(table, "winner", where)
    values = verdicts.to_pylist()
    points = np.array([VERDICTS.get(str(value), -1) for value in values], dtype=np.int8)
    rows = points[codes]
    if (points < 0).any() and (unknown := rows < 0).any():
        row = int(np.argmax(unknown))
        raise ArenaError(
            f"unknown winner {str(values[codes[row]])!r}",
            where=where.row(row),
            mend=f"{suggest(str(values[codes[row]]), VERDICTS)}; leave out battles that were not scored",
        )
    return rows


def _prompts(table: pa.Table, where: Where) -> tuple[Codes | None, int]:
    """Return prompt codes without gaps and their number."""
    if "prompt_id" not in table.column_names:
        return None, 0
    import pyarrow.compute as pc

    column = table.column("prompt_id")
    if str(column.type).startswith("dictionary") and column.num_chunks == 1:
        dictionary = column.chunk(0).dictionary
        if len(pc.unique(dictionary)) != len(
            dictionary
        ):  # a writer may repeat values; a prompt is one cluster
            table = table.set_column(
                table.schema.get_field_index("prompt_id"), "prompt_id", column.cast("string")
            )
    _, codes = _codes(table, "prompt_id", where)
    used = np.bincount(codes) > 0
    if used.all():
        return codes, len(used)
    place = np.cumsum(used, dtype=np.int32) - np.int32(1)
    return place[codes], int(used.sum())


def _numbers(
    table: pa.Table, name: str, where: Where, *, whole: bool = False, signed: bool = False
) -> Floats | None:
    """Return a column of finite numbers, or None where it is absent or all ones."""
    if name not in table.column_names:
        return None
    import pyarrow as pa

    column = table.column(name)
    try:
        numbers = column.cast(pa.float64()).to_numpy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        numbers = np.array([_number(value) for value in column.to_pylist()])
    bad = ~np.isfinite(numbers)
    if not signed:
        bad |= numbers < 0
    if whole:
        bad |= numbers != np.floor(numbers)
    if bad.any():
        row = int(np.argmax(bad))
        kind = "a whole number" if whole else "a number"
        limit = "" if signed else ", 0 or more"
        raise ArenaError(f"{name} is {column[row].as_py()!r}, not {kind}{limit}", where=where.row(row))
    return (
        None
        if name in ("count", "weight") and bool((numbers == 1).all())
        else np.asarray(numbers, dtype=np.float64)
    )


def _number(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return math.nan


def _sides(table: pa.Table, where: Where) -> dict[str, Sides]:
    sides = {}
    for name in SIDE_COLUMNS:
        both = [f"{name}_a", f"{name}_b"]
        held = [column for column in both if column in table.column_names]
        if len(held) == 1:
            missing = both[1] if held == both[:1] else both[0]
            raise ArenaError(
                f"column {held[0]!r} without {missing!r}", where=where.source, mend="give both or none"
            )
        if held:
            a, b = (_numbers(table, column, where, signed=name == "score") for column in both)
            assert a is not None
            assert b is not None
            sides[name] = Sides(a, b)
    return sides


def _without_empty_rows(battles: Battles, where: Where) -> Battles:
    mass = battles.mass
    if mass is None or bool((mass > 0).all()):
        return battles
    rows = np.flatnonzero(mass > 0)
    if not len(rows):
        raise ArenaError("every count or weight in it is 0", where=where.source)
    return take_rows(battles, rows)


def take_rows(battles: Battles, rows: NDArray[np.intp] | Bools) -> Battles:
    """Return the battles of some rows, with contestants and prompts that no longer occur left out."""
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
