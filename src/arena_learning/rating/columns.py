"""Read and check the columns of a battle log; errors name the row."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from arena_learning.core import ArenaError, suggest
from arena_learning.rating.arrays import Bools, Codes, Floats
from arena_learning.schema import (
    NO_WINNER,
    ONE_HOT,
    SPELLINGS,
    VotedWinner,
    is_missing,
    one_hot_columns,
    read_winner,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

REQUIRED = ("model_a", "model_b", "winner")
# Outcomes and the half-points that they give to model_a.
_POINTS: dict[VotedWinner, int] = {"model_a": 2, "model_b": 0, "tie": 1}
# Measures of the answers; each has two columns, `<name>_a` and `<name>_b`.
SIDE_COLUMNS = ("score", "length", "headers", "lists", "bold")


class Sides(NamedTuple):
    """One measure of both answers, by row."""

    a: Floats
    b: Floats


class Where:
    """Names the rows of a table for errors, and keeps track of skipped rows.

    Args:
        source: the file's name.
        first_line: the line of the first row if every row is one line; 0 if lines are unknown.
        lines: the line of each row, if known individually.
        skip_bad: skip and count malformed rows; otherwise the first one is an error.
    """

    def __init__(
        self, source: str, first_line: int = 0, lines: Sequence[int] = (), skip_bad: bool = False
    ) -> None:
        self.source, self.first_line, self.lines, self.skip_bad = source, first_line, lines, skip_bad
        self.passed: Counter[str] = Counter()
        self._bad: Bools | None = None

    def row(self, index: int) -> str:
        """Return ``source: row N`` for the 0-based ``index``, with the line of the file if known."""
        number = self.lines[index] if self.lines else index + self.first_line if self.first_line else 0
        return f"{self.source}: row {index + 1}{f' (line {number})' if number else ''}"

    def pass_over(self, rows: Bools, reason: str) -> None:
        """Skip ``rows``, and count those that were not skipped already."""
        new = rows if self._bad is None else rows & ~self._bad
        if new.any():
            self.passed[reason] += int(new.sum())
            self._bad = new if self._bad is None else self._bad | new

    def refuse(self, rows: Bools, reason: str, what: Callable[[int], str], hint: str = "") -> None:
        """Skip malformed ``rows``, or raise the error of the first that was not skipped already."""
        new = rows if self._bad is None else rows & ~self._bad
        if not new.any():
            return
        if not self.skip_bad:
            first = int(np.argmax(new))
            raise ArenaError(what(first), where=self.row(first), hint=hint)
        self.pass_over(new, reason)

    @property
    def good(self) -> Bools | None:
        """The rows that are not skipped, or None if none is."""
        return None if self._bad is None else ~self._bad


def known_columns() -> list[str]:
    """Return the names of all columns that are read."""
    sides = [f"{name}_{side}" for name in SIDE_COLUMNS for side in "ab"]
    return [*REQUIRED, *ONE_HOT, "count", "weight", "prompt_id", *sides]


def check_required(present: Sequence[str], source: str) -> None:
    """Check that the contestants' columns exist, and the winner's column or one for each outcome.

    Raises:
        ArenaError: one is missing.
    """
    for name in REQUIRED:
        if name not in present and not (name == "winner" and one_hot_columns(present)):
            either = "; winner_model_a, winner_model_b and winner_tie would do" if name == "winner" else ""
            raise ArenaError(f"no column {name!r}", where=source, hint=suggest(name, present) + either)


def _codes(table: pa.Table, name: str, where: Where) -> tuple[pa.Array, Codes]:
    """Return a column's distinct values, and each row's index into them, -1 for a missing value."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = table.column(name)
    if pa.types.is_nested(column.type):
        raise ArenaError(
            f"{name} contains lists or objects", where=where.source, hint="give texts or numbers"
        )
    if pa.types.is_null(column.type):
        column = column.cast(pa.string())
    if not pa.types.is_dictionary(column.type):
        column = pc.dictionary_encode(column)
    array = column.unify_dictionaries().combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    indices = array.indices
    # Not to_numpy, which loads pandas; that takes longer than a fit. Indices are int8 to int64.
    kind = np.dtype(str(indices.type))
    codes = np.frombuffer(
        indices.buffers()[1], dtype=kind, count=len(indices), offset=indices.offset * kind.itemsize
    )
    codes = codes.astype(np.int32, copy=False)
    if indices.null_count:  # the buffer is undefined there
        codes = np.where(np.array(indices.is_null().to_pylist(), dtype=bool), np.int32(-1), codes)
    values = array.dictionary
    if pa.types.is_binary(values.type) or pa.types.is_large_binary(
        values.type
    ):  # from a writer that does not mark texts as such
        try:
            values = values.cast(pa.string())
        except pa.ArrowInvalid:
            raise ArenaError(f"{name} is not UTF-8", where=where.source) from None
    return values, codes


def _texts(values: pa.Array) -> list[str | None]:
    return [None if value is None else str(value) for value in values.to_pylist()]


def _given(values: pa.Array, codes: Codes, name: str, where: Where) -> None:
    """Refuse the rows in which a required column has no value."""
    import pyarrow as pa
    import pyarrow.compute as pc

    blank = pc.equal(pc.utf8_trim_whitespace(pc.cast(values, pa.string())), "")
    where.refuse(codes < 0, f"{name} is missing", lambda _: f"{name} is missing")
    for kind, which in (("missing", pc.is_null(values)), ("empty", pc.fill_null(blank, False))):
        found = pc.indices_nonzero(which).to_pylist()
        if found:
            where.refuse(np.isin(codes, found), f"{name} is {kind}", _said(f"{name} is {kind}"))


def _said(what: str) -> Callable[[int], str]:
    return lambda _: what


def read_contestants(table: pa.Table, where: Where) -> tuple[tuple[str, ...], Codes, Codes]:
    """Return the sorted names and both contestants' codes."""
    sides = []
    for name in ("model_a", "model_b"):
        values, codes = _codes(table, name, where)
        _given(values, codes, name, where)
        used = np.bincount(codes[codes >= 0], minlength=len(values)) > 0
        sides.append(([value or "" for value in _texts(values)], codes, used))
    models = sorted(
        {name for values, _, used in sides for name, is_used in zip(values, used, strict=True) if is_used}
    )
    place = {name: i for i, name in enumerate(models)}
    a, b = (
        np.array([*(place.get(name, -1) for name in values), -1], dtype=np.int32)[codes]
        for values, codes, _ in sides
    )
    where.refuse(
        a == b,
        "a contestant against itself",
        lambda row: f"{models[a[row]]!r} meets itself",
        "remove the row",
    )
    return tuple(models), a, b


def read_points(table: pa.Table, where: Where) -> NDArray[np.int8]:
    """Return the half-points of each row's first contestant: 2 won, 1 tied, 0 lost.

    Rows without a winner are skipped and counted.
    """
    if "winner" not in table.column_names:
        return _one_hot_points(table, where)
    found, codes = _codes(table, "winner", where)
    values = _texts(found)
    no_winner = np.array([*map(is_missing, values), True])
    where.pass_over(no_winner[codes], NO_WINNER)
    winners = [read_winner(value) for value in values]
    points = np.array([*(-1 if w is None else _POINTS[w] for w in winners), -1], dtype=np.int8)[codes]
    where.refuse(
        points < 0,
        "an unknown winner",
        lambda row: f"unknown winner {str(values[codes[row]])[:60]!r}",
        f"{suggest(_first_unknown(values, winners), ('model_a', 'model_b', 'tie'))}, and {SPELLINGS}; "
        "leave out battles that were not scored, or give --skip-bad",
    )
    return points


def _first_unknown(values: Sequence[str | None], winners: Sequence[VotedWinner | None]) -> str:
    pairs = zip(values, winners, strict=True)
    return next((v for v, w in pairs if w is None and v is not None and not is_missing(v)), "")


def _one_hot_points(table: pa.Table, where: Where) -> NDArray[np.int8]:
    """Return the half-points from one column for each outcome: 1 in one of them, 0 or empty in the others."""
    names = one_hot_columns(table.column_names)
    flags = np.stack([_flags(table, name, where) for name in names])
    won = (flags == 1).sum(axis=0)
    where.pass_over(won == 0, NO_WINNER)
    where.refuse(won > 1, "several winners", lambda _: f"several of {', '.join(names)} are 1")
    halves = np.array([_POINTS[ONE_HOT[name]] for name in names], dtype=np.int8)
    points: NDArray[np.int8] = halves[flags.argmax(axis=0)]
    return points


def _flags(table: pa.Table, name: str, where: Where) -> Floats:
    found, codes = _codes(table, name, where)
    values = _texts(found)
    words = {"true": 1.0, "false": 0.0}
    numbers = [0.0 if is_missing(v) else words.get(str(v).strip().lower(), _number(v)) for v in values]
    flags = np.array([*numbers, 0.0])[codes]
    where.refuse(
        (flags != 0) & (flags != 1),
        f"{name} is not 0 or 1",
        lambda row: f"{name} is {values[codes[row]]!r}, not 0 or 1",
    )
    return flags


def read_prompts(table: pa.Table, where: Where) -> tuple[Codes | None, int]:
    """Return prompt codes without gaps, and their number."""
    if "prompt_id" not in table.column_names:
        return None, 0
    import pyarrow.compute as pc

    column = table.column("prompt_id")
    if str(column.type).startswith("dictionary") and column.num_chunks == 1:
        dictionary = column.chunk(0).dictionary
        # A writer may repeat values in its dictionary; equal values are one prompt.
        if len(pc.unique(dictionary)) != len(dictionary):
            table = table.set_column(
                table.schema.get_field_index("prompt_id"), "prompt_id", column.cast("string")
            )
    values, codes = _codes(table, "prompt_id", where)
    _given(values, codes, "prompt_id", where)
    used = np.bincount(codes[codes >= 0]) > 0
    if used.all():
        return codes, len(used)
    place = np.cumsum(used, dtype=np.int32) - np.int32(1)
    return place[codes], int(used.sum())


def read_numbers(
    table: pa.Table, name: str, where: Where, *, whole: bool = False, signed: bool = False
) -> Floats | None:
    """Return a column of finite numbers, or None if it is absent or all ones."""
    if name not in table.column_names:
        return None
    import pyarrow as pa

    column = table.column(name)
    try:
        numbers = column.cast(pa.float64()).to_numpy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
        numbers = np.array([_number(value) for value in column.to_pylist()])
    bad = ~np.isfinite(numbers)
    if not signed:
        bad |= numbers < 0
    if whole:
        bad |= numbers != np.floor(numbers)
    kind = "a whole number" if whole else "a number"
    limit = "" if signed else ", 0 or more"
    where.refuse(
        bad,
        f"{name} is not {kind}{limit}",
        lambda row: f"{name} is {column[row].as_py()!r}, not {kind}{limit}",
    )
    numbers = np.where(bad, 0.0, numbers) if bad.any() else numbers
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
    """Return the measures of both answers, by name; one side without the other is an error."""
    sides = {}
    for name in SIDE_COLUMNS:
        both = [f"{name}_a", f"{name}_b"]
        held = [column for column in both if column in table.column_names]
        if len(held) == 1:
            missing = both[1] if held == both[:1] else both[0]
            raise ArenaError(
                f"column {held[0]!r} without {missing!r}", where=where.source, hint="give both or none"
            )
        if held:
            a, b = (read_numbers(table, column, where, signed=name == "score") for column in both)
            assert a is not None
            assert b is not None
            sides[name] = Sides(a, b)
    return sides
