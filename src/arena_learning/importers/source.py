"""Records out of JSON, JSON Lines, CSV and Parquet files, packed (``.gz``) or not, each with the place it stands in."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from arena_learning.core import (
    UNREADABLE,
    ArenaError,
    Dialect,
    csv_dialect,
    encoding_error,
    numbered_lines,
    open_text,
    read_whole_text,
)

csv.field_size_limit(2**31 - 1)  # an answer may be longer than the 128 KiB that a field has by default
_HALF = re.compile("[\ud800-\udfff]")
_KINDS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
}
_BATCH = 1024  # rows of Parquet at once: conversations are long
_ID = re.compile(r"[^\w.:-]+")
FORMATS = "json, jsonl, csv, tsv, parquet, or one of the first four with .gz"


class Record(NamedTuple):
    """A record's fields and its place (file and line, item or row), for errors."""

    where: str
    fields: dict[str, Any]

    def has(self, name: str) -> bool:
        """Return whether a field is there and says something: not None, NaN, a blank text or an empty list."""
        value = self.fields.get(name)
        if value is None:  # first, because most are asked for in vain
            return False
        if isinstance(value, str):
            return bool(value.strip())
        if isinstance(value, float):
            return not math.isnan(value)
        return bool(value) if isinstance(value, list | dict) else True

    def first(self, *names: str) -> str | None:
        """Return the first of these names whose field says something."""
        return next((name for name in names if self.has(name)), None)

    def text(self, *names: str) -> str:
        """Return the first of these fields that is there, as a text.

        Raises:
            ArenaError: none is, or it is no text.
        """
        for name in names:
            value = self.fields.get(name)
            if isinstance(value, str):
                return value
            if isinstance(value, int) and not isinstance(value, bool):
                return str(value)
            if (
                isinstance(value, float) and value.is_integer()
            ):  # a whole column is, where one row of it is empty
                return str(int(value))
        raise ArenaError(
            f"no text in {' or '.join(names)}", where=self.where, hint=f"it has {_keys(self.fields)}"
        )

    def id(self, *names: str) -> str:
        """Return the first of these fields as an instruction's id; errors as in `text`."""
        name = self.first(*names)
        return safe_id(self.text(*([name] if name else names)))

    def number(self, name: str) -> float:
        """Return a field as a number.

        Raises:
            ArenaError: it is none.
        """
        value = self.fields.get(name)
        try:
            return float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            raise ArenaError(f"{name} is no number: {str(value)[:40]!r}", where=self.where) from None


def safe_id(text: str) -> str:
    """Return ``text`` as an instruction's id: where it changes for that, a digest keeps two ids two."""
    return with_digest(_ID.sub("-", text.strip()), text.strip())


def with_digest(changed: str, text: str) -> str:
    """Return ``changed``, with a digest of ``text`` where the two differ."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return changed if changed == text else f"{changed.strip('-._')}-{digest}".lstrip("-")


def stop(error: ArenaError) -> None:
    """What is done with a malformed row by default: the import ends with its error."""
    raise error


def records(path: Path, bad: Callable[[ArenaError], None] = stop) -> Iterator[Record]:
    """Yield the records of a file, or of all such files in a folder.

    Args:
        path: the file or folder.
        bad: what is done with the error of a malformed row; if it does not raise, the next row is read.

    Raises:
        ArenaError: no such file, an unknown format, a file that cannot be read; or by ``bad``.
    """
    if path.is_dir():
        files = sorted(f for f in path.rglob("*") if f.is_file() and _format(f))
        if not files:
            raise ArenaError("no files to import in this folder", where=str(path), hint=FORMATS)
        for file in files:
            yield from records(file, bad)
        return
    readers = {"parquet": _parquet, "csv": _csv, "json": _json, "jsonl": _lines}
    if (kind := _format(path)) not in readers:
        raise ArenaError("an unknown kind of file", where=str(path), hint=FORMATS)
    for where, item in readers[kind](path, bad):
        if isinstance(item, dict):
            yield Record(where, item)
        else:
            bad(ArenaError("expected an object", where=where))


def other_files(path: Path) -> int:
    """Return how many files of a folder are of no kind that is read here; hidden ones do not count."""
    if not path.is_dir():
        return 0
    files = (f for f in path.rglob("*") if f.is_file() and not f.name.startswith("."))
    return sum(not _format(f) for f in files)


def is_lines(path: Path) -> bool:
    """Return whether a file holds a row a line of JSON, by its name: any name that is not another format's."""
    return _format(path) in ("jsonl", "")


def _format(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz")
    return _KINDS.get(Path(name).suffix, "")


Items = Iterator[tuple[str, Any]]


def _lines(path: Path, bad: Callable[[ArenaError], None]) -> Items:
    for number, line in numbered_lines(path):
        where = f"{path}, line {number}"
        try:
            item = parsed(line, where)
        except ArenaError as error:
            bad(error)
            continue
        yield where, item


def _json(path: Path, bad: Callable[[ArenaError], None]) -> Items:
    text = read_whole_text(path)
    try:
        items = parsed(text, str(path))
    except ArenaError as error:
        if "Extra data" not in error.what:
            raise
        yield from _lines(path, bad)  # a row a line, whatever it is called
        return
    if isinstance(items, dict):
        items = [items]
    if not isinstance(items, list):
        raise ArenaError("expected a list of objects", where=str(path))
    for number, item in enumerate(items, 1):
        yield f"{path}, item {number}", item


def _csv(path: Path, bad: Callable[[ArenaError], None]) -> Items:
    try:
        dialect = csv_dialect(path)
    except ArenaError as error:
        if "is empty" in error.what:
            return
        raise
    line = 0
    try:
        with open_text(path, newline="") as file:
            for line, cells in _csv_rows(file, dialect, path, bad):
                if len(cells) == len(dialect.names):
                    yield f"{path}, line {line}", dict(zip(dialect.names, cells, strict=True))
                else:
                    what = f"not {len(dialect.names)} columns as in the head, but {len(cells)}"
                    bad(ArenaError(what, where=f"{path}, line {line}"))
    except UnicodeDecodeError as error:
        raise encoding_error(error, path, after=line) from None
    except UNREADABLE as error:
        raise ArenaError(f"cannot be read: {error}", where=str(path)) from None


def _csv_rows(
    file: TextIO, dialect: Dialect, path: Path, bad: Callable[[ArenaError], None]
) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows behind the head that are not blank, each with the line in which it ends."""
    for _ in range(dialect.before):
        file.readline()
    # Strict: else a quote that is never closed swallows the rest of the file as one cell.
    reader = csv.reader(file, delimiter=dialect.separator, strict=True)
    head = True
    while True:
        start = reader.line_num + dialect.before + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            hint = "close the quote" if "unexpected end" in str(error) else ""
            broken = ArenaError(f"not CSV: {error}", where=f"{path}, line {start}", hint=hint)
            if head:
                raise broken from None
            bad(broken)
            continue
        if cells and not head:
            yield reader.line_num + dialect.before, cells
        head = False


def _parquet(path: Path, bad: Callable[[ArenaError], None]) -> Items:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as table:
            number = 0
            for batch in table.iter_batches(batch_size=_BATCH):
                for row in _without_times(batch).to_pylist():
                    number += 1
                    yield f"{path}, row {number}", row
    except FileNotFoundError:
        raise ArenaError("no such file", where=str(path)) from None
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise ArenaError(f"not Parquet: {(str(error).splitlines() or ['?'])[0]}", where=str(path)) from None


def _without_times(batch: Any) -> Any:
    """Return a batch with its times as texts: nothing here reads them, and Python holds no nanoseconds."""
    import pyarrow as pa

    columns = [
        column.cast(pa.string()) if pa.types.is_temporal(column.type) else column for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def parsed(text: str, where: str) -> Any:
    """Return the value that a JSON text holds, half characters replaced.

    Raises:
        ArenaError: it is no JSON.
    """
    try:
        value = json.loads(text)
        return whole(value) if "\\ud" in text.lower() else value
    except (ValueError, RecursionError) as error:
        raise ArenaError(f"not JSON: {error}", where=where) from None


def whole(value: Any) -> Any:
    """Return a JSON value with half characters replaced: JSON can hold them, and no file in UTF-8 can."""
    if isinstance(value, str):
        return _HALF.sub("\ufffd", value)
    if isinstance(value, list):
        return [whole(item) for item in value]
    return {whole(k): whole(v) for k, v in value.items()} if isinstance(value, dict) else value


def _keys(fields: dict[str, Any]) -> str:
    return ", ".join(sorted(map(str, fields))[:12]) or "no fields"
