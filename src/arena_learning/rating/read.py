"""Reading battles from CSV, JSONL and Parquet files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from arena_learning.errors import ArenaError
from arena_learning.rating.battles import Battles, battles_from_arrow
from arena_learning.rating.columns import REQUIRED, Where, known_columns

if TYPE_CHECKING:
    import pyarrow as pa

_ID_COLUMNS = (*REQUIRED, "prompt_id")


def read_battles(path: str | Path) -> Battles:
    """Read a battle log.

    Args:
        path: a ``.csv``, ``.jsonl`` (or ``.ndjson``) or ``.parquet`` file, the first two also as ``.gz``;
            columns as in `battles_from_frame`. Names and prompts in Parquet are fastest as dictionaries.

    Raises:
        ArenaError: the file cannot be read, or a row is not as it must be; with its number.
    """
    path = Path(path)
    if not path.is_file():
        raise ArenaError("no such file", where=str(path))
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else (suffixes or [""])[-1]
    if kind == ".parquet":
        return _read_parquet(path)
    if kind in (".jsonl", ".ndjson"):
        return _read_jsonl(path)
    if kind == ".csv":
        return _read_csv(path)
    raise ArenaError(f"unknown kind of file {kind!r}", where=str(path), mend="give .csv, .jsonl or .parquet")


def _read_parquet(path: Path) -> Battles:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Not pq.read_table: it loads the whole of pyarrow.dataset for a plain file.
        with pq.ParquetFile(path, read_dictionary=list(_ID_COLUMNS)) as file:
            names = file.schema_arrow.names
            table = file.read(columns=[name for name in known_columns() if name in names])
    except (pa.ArrowInvalid, OSError) as error:
        raise ArenaError(f"not a Parquet file: {error}", where=str(path)) from error
    return battles_from_arrow(table, Where(str(path)), present=names)


def _read_csv(path: Path) -> Battles:
    import pyarrow as pa
    from pyarrow import csv

    types = {name: pa.dictionary(pa.int32(), pa.string()) for name in _ID_COLUMNS}
    parse = csv.ParseOptions(newlines_in_values=True)
    try:
        with pa.input_stream(str(path)) as stream:
            names = _header(stream.read(1 << 16), path)
        wanted = [name for name in known_columns() if name in names]
        convert = csv.ConvertOptions(column_types=types, include_columns=wanted, strings_can_be_null=False)
        with pa.input_stream(str(path)) as stream:
            table = csv.read_csv(stream, parse_options=parse, convert_options=convert)
    except (pa.ArrowInvalid, pa.ArrowKeyError, OSError) as error:
        raise ArenaError(f"not a readable CSV file: {error}", where=str(path)) from error
    lines = _lines(path)
    one_line_each = lines - table.num_rows in (1, 2)
    return battles_from_arrow(table, Where(str(path), first_line=2 if one_line_each else 0), present=names)


def _header(start: bytes, path: Path) -> list[str]:
    """Return the column names in the first bytes of a CSV file."""
    import csv

    try:
        text = start.decode("utf-8-sig", errors="ignore")
        return next(csv.reader(text.splitlines()[:1]))
    except StopIteration:
        raise ArenaError("no battles in it: the file is empty", where=str(path)) from None


def _lines(path: Path) -> int:
    """Count line ends, so that errors name a line only where rows and lines agree."""
    import pyarrow as pa

    count = 0
    with pa.input_stream(str(path)) as stream:
        while chunk := stream.read(1 << 20):
            count += chunk.count(b"\n")
    return count + 1


def _read_jsonl(path: Path) -> Battles:
    import pyarrow as pa

    wanted = known_columns()
    held: dict[str, list[object]] = {name: [] for name in wanted}
    present: dict[str, None] = {}
    try:
        with pa.input_stream(str(path)) as stream:
            lines = stream.read().decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ArenaError(f"not a readable JSONL file: {error}", where=str(path)) from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = _json_row(line, number, path)
        present |= dict.fromkeys(row)
        for name in wanted:
            held[name].append(row.get(name))
    columns = {name: _json_column(name, held[name]) for name in wanted if name in present}
    return battles_from_arrow(pa.table(columns), Where(str(path)), present=list(present) or list(REQUIRED))


def _json_row(line: str, number: int, path: Path) -> dict[str, object]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ArenaError(f"not JSON: {error.msg}", where=f"{path}: line {number}") from error
    if not isinstance(row, dict):
        raise ArenaError("not a JSON object", where=f"{path}: line {number}")
    return row


def _json_column(name: str, values: list[object]) -> pa.Array:
    import pyarrow as pa

    if name not in _ID_COLUMNS and all(isinstance(value, int | float | None) for value in values):
        return pa.array(values, type=pa.float64())
    return pa.array([None if value is None else str(value) for value in values], type=pa.string())
