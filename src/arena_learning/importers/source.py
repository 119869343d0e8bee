"""Records out of JSON, JSON Lines, CSV and Parquet files, packed (``.gz``) or not, each with the place it stands in."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from arena_learning.errors import ArenaError

csv.field_size_limit(2**31 - 1)  # an answer may be longer than the 128 KiB that a field has by default
_HALF = re.compile("[\ud800-\udfff]")
FORMATS = "json, jsonl, csv, parquet, or one of the first three with .gz"


class Record(NamedTuple):
    """A record's fields and its place (file and line, item or row), for errors."""

    where: str
    fields: dict[str, Any]

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
        raise ArenaError(
            f"no text in {' or '.join(names)}", where=self.where, mend=f"it has {_keys(self.fields)}"
        )

    def number(self, name: str) -> float:
        """Return a field as a number.

        Raises:
            ArenaError: it is none.
        """
        value = self.fields.get(name)
        try:
            return float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise ArenaError(f"{name} is no number: {str(value)[:40]!r}", where=self.where) from None


def records(path: Path) -> Iterator[Record]:
    """Yield the records of a file, or of all such files in a folder.

    Raises:
        ArenaError: no such file, an unknown format, or a malformed line; names file and line.
    """
    if path.is_dir():
        files = sorted(f for f in path.rglob("*") if f.is_file() and _format(f))
        if not files:
            raise ArenaError("no files to import in this folder", where=str(path), mend=FORMATS)
        for file in files:
            yield from records(file)
        return
    kind = _format(path)
    if kind == "parquet":
        yield from _parquet(path)
    elif kind == "csv":
        yield from _csv(path)
    elif kind == "json":
        yield from _json(path)
    elif kind == "jsonl":
        yield from _lines(path)
    else:
        raise ArenaError("an unknown kind of file", where=str(path), mend=FORMATS)


def _format(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz")
    known = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".parquet": "parquet"}
    return known.get(Path(name).suffix, "")


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
        return (gzip.decompress(raw) if path.suffix.lower() == ".gz" else raw).decode("utf-8-sig")
    except FileNotFoundError:
        raise ArenaError("no such file", where=str(path)) from None
    except (OSError, EOFError) as error:
        raise ArenaError(f"cannot be read: {error}", where=str(path)) from None
    except UnicodeDecodeError as error:
        raise ArenaError(f"not UTF-8: {error.reason}", where=str(path), mend="save it as UTF-8") from None


def _lines(path: Path) -> Iterator[Record]:
    for number, line in enumerate(_text(path).split("\n"), 1):
        if line.strip():
            yield _record(_parsed(line, f"{path}, line {number}"), f"{path}, line {number}")


def _json(path: Path) -> Iterator[Record]:
    items = _parsed(_text(path), str(path))
    if isinstance(items, dict):
        items = [items]
    if not isinstance(items, list):
        raise ArenaError("expected a list of objects", where=str(path))
    for number, item in enumerate(items, 1):
        yield _record(item, f"{path}, item {number}")


def _csv(path: Path) -> Iterator[Record]:
    reader = csv.DictReader(io.StringIO(_text(path), newline=""))
    try:
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            if None in row or None in row.values():
                raise ArenaError(f"not {len(reader.fieldnames or ())} columns as in the head", where=where)
            yield Record(where, dict(row))
    except csv.Error as error:
        raise ArenaError(f"not CSV: {error}", where=f"{path}, line {reader.line_num}") from None


def _parquet(path: Path) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path)
        number = 0
        for batch in table.iter_batches():
            for row in batch.to_pylist():
                number += 1
                yield Record(f"{path}, row {number}", row)
    except FileNotFoundError:
        raise ArenaError("no such file", where=str(path)) from None
    except (pa.ArrowException, OSError) as error:
        raise ArenaError(f"not Parquet: {str(error).splitlines()[0]}", where=str(path)) from None


def _parsed(text: str, where: str) -> Any:
    try:
        value = json.loads(text)
        return _whole(value) if "\\ud" in text.lower() else value
    except (ValueError, RecursionError) as error:
        raise ArenaError(f"not JSON: {error}", where=where) from None


def _whole(value: Any) -> Any:
    """Return ``value`` with half characters replaced: JSON can hold them, and no file in UTF-8 can."""
    if isinstance(value, str):
        return _HALF.sub("\ufffd", value)
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return {_whole(k): _whole(v) for k, v in value.items()} if isinstance(value, dict) else value


def _record(item: Any, where: str) -> Record:
    if not isinstance(item, dict):
        raise ArenaError("expected an object", where=where)
    return Record(where, item)


def _keys(fields: dict[str, Any]) -> str:
    return ", ".join(sorted(map(str, fields))[:12]) or "no fields"
