"""Reads records from JSON, JSON Lines, CSV, Parquet and Arrow files, each with its file and line."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
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
from arena_learning.importers.arrow import Items, arrow_rows, parquet_rows, unlisted

csv.field_size_limit(2**31 - 1)  # an answer may be longer than the default limit of 128 KiB
_HALF = re.compile("[\ud800-\udfff]")
_KINDS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".arrow": "arrow",
}
_ID = re.compile(r"[^\w.:-]+")
FORMATS = "json, jsonl, csv, tsv, parquet, arrow, or one of the first four with .gz"


class Record(NamedTuple):
    """A record's fields, and its place (file with line, item or row) for errors."""

    where: str
    fields: dict[str, Any]

    def has(self, name: str) -> bool:
        """Return whether a field has a value other than None, NaN, blank text or an empty list or mapping."""
        value = self.fields.get(name)
        if value is None:  # first, because it is the most frequent case
            return False
        if isinstance(value, str):
            return bool(value.strip())
        if isinstance(value, float):
            return not math.isnan(value)
        return bool(value) if isinstance(value, list | dict) else True

    def first(self, *names: str) -> str | None:
        """Return the first of these names whose field has a value, see `has`."""
        return next((name for name in names if self.has(name)), None)

    def text(self, *names: str) -> str:
        """Return the first of these fields that contains text or a whole number, as text.

        Raises:
            ArenaError: none of them does.
        """
        for name in names:
            value = self.fields.get(name)
            if isinstance(value, str):
                return value
            if isinstance(value, int) and not isinstance(value, bool):
                return str(value)
            if (
                isinstance(value, float) and value.is_integer()
            ):  # integers become floats in a column with an empty cell
                return str(int(value))
        raise ArenaError(
            f"no text in {' or '.join(names)}",
            where=self.where,
            hint=f"the record's fields are {_keys(self.fields)}",
        )

    def id(self, *names: str) -> str:
        """Return the first of these fields as an instruction's id; errors as in `text`."""
        name = self.first(*names)
        return safe_id(self.text(*([name] if name else names)))

    def number(self, name: str) -> float:
        """Return a field as a number.

        Raises:
            ArenaError: it is not a number.
        """
        value = self.fields.get(name)
        try:
            return float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            raise ArenaError(f"{name} is not a number: {str(value)[:40]!r}", where=self.where) from None


def safe_id(text: str) -> str:
    """Return ``text`` as a valid instruction id; if it has to change, a digest keeps it unique.

    Example:
        >>> safe_id("q-1"), safe_id("q 1")
        ('q-1', 'q-1-0e7f34f7')
    """
    return with_digest(_ID.sub("-", text.strip()), text.strip())


def with_digest(changed: str, text: str) -> str:
    """Return ``changed``, with a digest of ``text`` appended if the two differ."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return changed if changed == text else f"{changed.strip('-._')}-{digest}".lstrip("-")


def stop(error: ArenaError) -> None:
    """Raise the error of a malformed row; the default handler of `records`."""
    raise error


def records(path: Path, bad: Callable[[ArenaError], None] = stop) -> Iterator[Record]:
    """Yield the records of a file, or of all files of a known format in a folder, a saved data set for example.

    Args:
        path: the file or folder.
        bad: called with the error of a malformed row; if it does not raise, the row is skipped.

    Raises:
        ArenaError: the file is missing, cannot be read or has an unknown format; or raised by ``bad``.
    """
    if path.is_dir():
        for file in files_of(path):
            yield from records(file, bad)
        return
    readers: dict[str, Callable[[Path, Callable[[ArenaError], None]], Items]] = {
        "parquet": lambda file, _: parquet_rows(file),
        "arrow": lambda file, _: arrow_rows(file),
        "csv": _csv,
        "json": _json,
        "jsonl": _lines,
    }
    if (kind := _format(path)) not in readers:
        raise ArenaError("unknown file format", where=str(path), hint=f"formats: {FORMATS}")
    for where, item in readers[kind](path, bad):
        if isinstance(item, dict):
            yield Record(where, item)
        else:
            bad(ArenaError("expected a JSON object", where=where))


def without_replaced(found: Iterable[Record]) -> list[Record]:
    """Return the records that no other one ``replaces`` by their id: changed verdicts of a file that only grows.

    Example:
        >>> rows = [Record("line 1", {"id": "x.1"}), Record("line 2", {"id": "x.2", "replaces": "x.1"})]
        >>> [record.where for record in without_replaced(rows)]
        ['line 2']
    """
    rows = list(found)
    named = (row.fields.get("replaces") for row in rows)
    replaced = {name for name in named if isinstance(name, str) and name}
    return [row for row in rows if str(row.fields.get("id")) not in replaced]


def files_of(path: Path) -> list[Path]:
    """Return the files that `records` reads: ``path`` itself, or those of a known format in a folder, sorted.

    Raises:
        ArenaError: the folder has none.
    """
    if not path.is_dir():
        return [path]
    files = sorted(f for f in path.rglob("*") if f.is_file() and _format(f) and not unlisted(f))
    if not files:
        raise ArenaError("the folder has no files to import", where=str(path), hint=f"formats: {FORMATS}")
    return files


def other_files(path: Path) -> int:
    """Return the number of files of unknown format in a folder, not counting hidden files."""
    if not path.is_dir():
        return 0
    files = (f for f in path.rglob("*") if f.is_file() and not f.name.startswith("."))
    return sum(not _format(f) for f in files)


def is_lines(path: Path) -> bool:
    """Return whether a file is JSON Lines, judging by its name: every name without another format's suffix is."""
    return _format(path) in ("jsonl", "")


def _format(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz")
    return _KINDS.get(Path(name).suffix, "")


def _lines(path: Path, bad: Callable[[ArenaError], None]) -> Items:
    first = True
    for number, line in numbered_lines(path):
        where = f"{path}, line {number}"
        begins, first = first and line.lstrip().startswith("["), False
        try:
            item = parsed(line, where)
        except ArenaError as error:
            bad(_listed(path, where) if begins else error)
            continue
        if begins and isinstance(item, list):
            bad(_listed(path, where))
            continue
        yield where, item


def _listed(path: Path, where: str) -> ArenaError:
    """Return the error for a JSON list under the name of JSON Lines."""
    name = re.sub(r"\.(jsonl|ndjson)\b", ".json", path.name, flags=re.IGNORECASE)
    return ArenaError(
        "a JSON list, where each line should be an object of its own",
        where=where,
        hint=f"call the file {name}, or write an object a line",
    )


def _json(path: Path, bad: Callable[[ArenaError], None]) -> Items:
    text = read_whole_text(path)
    try:
        items = parsed(text, str(path))
    except ArenaError as error:
        if "Extra data" not in error.what:
            raise
        yield from _lines(path, bad)  # JSON Lines in a file named .json
        return
    if isinstance(items, dict):
        items = [items]
    if not isinstance(items, list):
        raise ArenaError("expected a list of JSON objects", where=str(path))
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
                    what = f"not {len(dialect.names)} columns as in the header, but {len(cells)}"
                    bad(ArenaError(what, where=f"{path}, line {line}"))
    except UnicodeDecodeError as error:
        raise encoding_error(error, path, after=line) from None
    except UNREADABLE as error:
        raise ArenaError(f"cannot be read: {error}", where=str(path)) from None


def _csv_rows(
    file: TextIO, dialect: Dialect, path: Path, bad: Callable[[ArenaError], None]
) -> Iterator[tuple[int, list[str]]]:
    """Yield the non-blank rows after the header, each with the number of its last line."""
    for _ in range(dialect.before):
        file.readline()
    # Strict, because otherwise a quote that is never closed turns the rest of the file into one cell.
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


def parsed(text: str, where: str) -> Any:
    """Return the value of a JSON text, with unpaired surrogates replaced, see `whole`.

    Raises:
        ArenaError: the text is not JSON.
    """
    try:
        value = json.loads(text)
        return whole(value) if "\\ud" in text.lower() else value
    except (ValueError, RecursionError) as error:
        raise ArenaError(f"not JSON: {error}", where=where) from None


def whole(value: Any) -> Any:
    """Return a JSON value with unpaired surrogates replaced by U+FFFD: UTF-8 files cannot contain them."""
    if isinstance(value, str):
        return _HALF.sub("\ufffd", value)
    if isinstance(value, list):
        return [whole(item) for item in value]
    return {whole(k): whole(v) for k, v in value.items()} if isinstance(value, dict) else value


def _keys(fields: dict[str, Any]) -> str:
    return ", ".join(sorted(map(str, fields))[:12]) or "no fields"
