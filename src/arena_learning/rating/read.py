"""Read battles from CSV, JSON Lines, JSON and Parquet files."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arena_learning.core import (
    SEPARATOR_NAMES,
    ArenaError,
    Dialect,
    csv_dialect,
    encoding_of,
    first_line,
    missing_file,
    numbered_lines,
    open_text,
    read_whole_text,
)
from arena_learning.rating.battles import Battles, battles_from_arrow
from arena_learning.rating.columns import REQUIRED, Where, known_columns
from arena_learning.schema import ONE_HOT

if TYPE_CHECKING:
    import pyarrow as pa

_ID_COLUMNS = (*REQUIRED, "prompt_id")
_BLOCKS = (1 << 20, 1 << 28)  # bytes that Arrow reads at once; a row must fit into one


def read_battles(path: str | Path, *, skip_bad: bool = False) -> Battles:
    """Read a battle log.

    Args:
        path: a ``.csv`` (separated by commas, semicolons, tabs or bars), ``.tsv``, ``.jsonl`` (or ``.ndjson``),
            ``.json`` or ``.parquet`` file, all but the last also as ``.gz``; columns as in `battles_from_frame`. Names
            and prompts in Parquet are fastest as dictionaries.
        skip_bad: skip malformed rows and count them in ``Battles.passed``; otherwise the first one is an error.

    Raises:
        ArenaError: the file cannot be read, or a row is malformed; with its number.

    Example:
        result = rate(read_battles("votes.csv"))
        print(result.to_frame())
    """
    path = Path(path)
    if not path.is_file():
        raise missing_file(path)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else (suffixes or [""])[-1]
    if kind == ".parquet":
        return _read_parquet(path, skip_bad)
    if kind in (".jsonl", ".ndjson"):
        return _read_json(path, "line", _json_lines(path), skip_bad)
    if kind == ".json":
        return _read_json(path, "item", _json_items(path), skip_bad)
    if kind in (".csv", ".tsv"):
        return _read_csv(path, skip_bad)
    raise ArenaError(
        f"unknown kind of file {kind!r}", where=str(path), hint="give .csv, .tsv, .json, .jsonl or .parquet"
    )


def _read_parquet(path: Path, skip_bad: bool) -> Battles:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Not pq.read_table, which loads all of pyarrow.dataset for a plain file.
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            # Naming a missing column, or one of lists, raises a KeyError.
            texts = [
                f.name for f in file.schema_arrow if f.name in _ID_COLUMNS and not pa.types.is_nested(f.type)
            ]
        with pq.ParquetFile(path, read_dictionary=texts) as file:
            table = file.read(columns=[name for name in known_columns() if name in names])
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ArenaError(f"not a Parquet file: {error}", where=str(path)) from error
    return battles_from_arrow(table, Where(str(path), skip_bad=skip_bad), present=names)


def _read_csv(path: Path, skip_bad: bool) -> Battles:
    dialect = csv_dialect(path)
    # Arrow decodes only UTF-8; spreadsheets' UTF-16 files are small enough to be re-encoded in memory.
    plain = encoding_of(path).startswith("utf-8")
    source = path if plain else read_whole_text(path).encode()
    bad: list[tuple[int | None, int]] = []
    table = _csv_table(path, source, dialect, skip_bad, bad)
    lines, quotes = _lines_and_quotes(source)
    if quotes % 2:
        _check_quotes(path, dialect)
    one_line_each = lines - table.num_rows - len(bad) - dialect.before in (1, 2) and not bad
    where = Where(str(path), 2 + dialect.before if one_line_each else 0, skip_bad=skip_bad)
    if bad:
        where.passed[f"not {len(dialect.names)} columns"] = len(bad)
    return battles_from_arrow(table, where, present=dialect.names)


def _csv_table(
    path: Path, source: Path | bytes, dialect: Dialect, skip_bad: bool, bad: list[tuple[int | None, int]]
) -> pa.Table:
    """Return the columns to read; rows of another width are added to ``bad`` or raise an error."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    def wrong_width(row: Any) -> str:
        bad.append((row.number, row.actual_columns))
        return "skip" if skip_bad else "error"

    texts = pa.dictionary(pa.int32(), pa.string())
    wanted = [name for name in known_columns() if name in dialect.names]
    convert = arrow_csv.ConvertOptions(
        column_types=dict.fromkeys(_ID_COLUMNS, texts) | dict.fromkeys(ONE_HOT, texts),
        include_columns=wanted,
        strings_can_be_null=False,
    )
    parse = arrow_csv.ParseOptions(
        delimiter=dialect.separator, newlines_in_values=True, invalid_row_handler=wrong_width
    )
    for block, threads in ((_BLOCKS[0], True), (_BLOCKS[0], False), (_BLOCKS[1], False)):
        bad.clear()
        read = arrow_csv.ReadOptions(block_size=block, use_threads=threads, skip_rows=dialect.before)
        try:
            with pa.input_stream(str(source) if isinstance(source, Path) else pa.py_buffer(source)) as stream:
                return arrow_csv.read_csv(
                    stream, read_options=read, parse_options=parse, convert_options=convert
                )
        except (pa.ArrowException, OSError) as error:
            last = error  # try again: threads do not know the row, and a row may be longer than a block
            if not bad and "straddling" not in str(error):
                break
    if bad:
        number, width = bad[0]
        raise ArenaError(
            f"the row has {width} columns, the header {len(dialect.names)}, by {SEPARATOR_NAMES[dialect.separator]}",
            where=f"{path}: row {(number or 1) - 1}",
            hint="correct the row, or skip such rows with --skip-bad",
        ) from None
    what = "not UTF-8" if "UTF8" in str(last) else f"not a readable CSV file: {first_line(last)}"
    raise ArenaError(what, where=str(path), hint="save it as UTF-8" if what == "not UTF-8" else "") from last


def _lines_and_quotes(source: Path | bytes) -> tuple[int, int]:
    """Count line ends, so that errors name a line only if rows and lines agree, and quotes."""
    import pyarrow as pa

    lines = quotes = 0
    with pa.input_stream(str(source) if isinstance(source, Path) else pa.py_buffer(source)) as stream:
        while chunk := stream.read(1 << 20):
            lines += chunk.count(b"\n")
            quotes += chunk.count(b'"')
    return lines + 1, quotes


def _check_quotes(path: Path, dialect: Dialect) -> None:
    """Check that the last quote is closed; otherwise Arrow silently takes the rest of the file as one cell.

    Raises:
        ArenaError: it is not closed.
    """
    with open_text(path, newline="") as file:
        reader, start = csv.reader(file, delimiter=dialect.separator, strict=True), 1
        try:
            for _ in reader:
                start = reader.line_num + 1
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise ArenaError(
                    "a quote is opened and never closed", where=f"{path}, line {start}", hint="close it"
                ) from None


def _read_json(path: Path, unit: str, items: Iterator[tuple[int, Any]], skip_bad: bool) -> Battles:
    """Read numbered objects; ``unit`` says what the number counts: lines or items."""
    import pyarrow as pa

    wanted = known_columns()
    held: dict[str, list[object]] = {name: [] for name in wanted}
    present: dict[str, None] = {}
    lines: list[int] = []
    where = Where(str(path), lines=lines if unit == "line" else (), skip_bad=skip_bad)
    for number, row in items:
        problem = row if isinstance(row, ArenaError) else _problem(row)
        if problem is not None:
            if not skip_bad:
                raise ArenaError(problem.what, where=f"{path}: {unit} {number}", hint=problem.hint)
            where.passed[problem.what.split(":")[0]] += 1
            continue
        lines.append(number)
        present |= dict.fromkeys(row)
        for name in wanted:
            held[name].append(row.get(name))
    if not lines:
        raise ArenaError(
            "there are no battles in it",
            where=str(path),
            hint=f"passed over: {dict(where.passed) or 'nothing'}",
        )
    columns = {name: _json_column(name, held[name]) for name in wanted if name in present}
    return battles_from_arrow(pa.table(columns), where, present=list(present))


def _json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    for number, line in numbered_lines(path):
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            yield number, ArenaError(f"not JSON: {getattr(error, 'msg', error)}")


def _json_items(path: Path) -> Iterator[tuple[int, Any]]:
    try:
        items = json.loads(read_whole_text(path))
    except (ValueError, RecursionError) as error:
        if "Extra data" in str(error):  # one object a line, despite the file's name
            yield from _json_lines(path)
            return
        raise ArenaError(f"not JSON: {error}", where=str(path)) from None
    yield from enumerate(items if isinstance(items, list) else [items], 1)


def _problem(row: object) -> ArenaError | None:
    if not isinstance(row, dict):
        return ArenaError("not a JSON object")
    wrong = next((n for n in (*_ID_COLUMNS, *ONE_HOT) if isinstance(row.get(n), list | dict)), None)
    return ArenaError(f"{wrong} is a list or an object, not a text") if wrong else None


def _json_column(name: str, values: list[object]) -> pa.Array:
    import pyarrow as pa

    if name not in _ID_COLUMNS and all(isinstance(value, int | float | None) for value in values):
        try:
            return pa.array(values, type=pa.float64())
        except (pa.ArrowException, OverflowError):
            pass  # an integer too large for a float; the check of numbers names its row
    return pa.array([_cell(value) for value in values], type=pa.string())


def _cell(value: object) -> str | None:
    """Return a value as a text; NaN becomes None, and lone surrogates are replaced, as no file can hold them."""
    if value is None or value != value:
        return None
    return str(value).encode("utf-8", "replace").decode()
