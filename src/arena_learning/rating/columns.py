"""The columns of a battle log, each checked as it is read: what is wrong is named with its row."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from arena_learning.errors import ArenaError, suggest
from arena_learning.rating.arrays import Codes, Floats

if TYPE_CHECKING:
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


class Where:
    """Names the row of a table in the words of the file it came from."""

    def __init__(self, source: str, first_line: int = 0) -> None:
        self.source, self.first_line = source, first_line

    def row(self, index: int) -> str:
        """Return ``source: row N`` for the 0-based ``index``, and the line of the file if known."""
        line = f" (line {index + self.first_line})" if self.first_line else ""
        return f"{self.source}: row {index + 1}{line}"


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


def read_contestants(table: pa.Table, where: Where) -> tuple[tuple[str, ...], Codes, Codes]:
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


def read_points(table: pa.Table, where: Where) -> NDArray[np.int8]:
    """Return the half-points of each row's first contestant: 2 won, 1 tied, 0 lost."""
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


def read_prompts(table: pa.Table, where: Where) -> tuple[Codes | None, int]:
    """Return prompt codes without gaps and their number."""
    if "prompt_id" not in table.column_names:
        return None, 0
    import pyarrow.compute as pc

    column = table.column("prompt_id")
    if str(column.type).startswith("dictionary") and column.num_chunks == 1:
        dictionary = column.chunk(0).dictionary
        # A writer may repeat values in it; a prompt is one cluster.
        if len(pc.unique(dictionary)) != len(dictionary):
            table = table.set_column(
                table.schema.get_field_index("prompt_id"), "prompt_id", column.cast("string")
            )
    _, codes = _codes(table, "prompt_id", where)
    used = np.bincount(codes) > 0
    if used.all():
        return codes, len(used)
    place = np.cumsum(used, dtype=np.int32) - np.int32(1)
    return place[codes], int(used.sum())


def read_numbers(
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


def read_sides(table: pa.Table, where: Where) -> dict[str, Sides]:
    """Return what was measured of both answers, by name; one side without the other is an error."""
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
            a, b = (read_numbers(table, column, where, signed=name == "score") for column in both)
            assert a is not None
            assert b is not None
            sides[name] = Sides(a, b)
    return sides
