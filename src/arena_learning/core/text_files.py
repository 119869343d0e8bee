"""Reads text files from other tools: gzipped, with a byte order mark, CSV with any common separator.

Lines of JSON Lines end at ``\\n`` only. Python's ``splitlines`` also splits at U+2028, U+2029 and U+0085, which JSON
allows inside strings.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TextIO, cast

from arena_learning.core.errors import ArenaError, missing_file

UNREADABLE = (OSError, EOFError, zlib.error)  # disk errors, and truncated or damaged gzip files
_HEAD = 1 << 16
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose byte order mark is a prefix of this one
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAVE = "save it as UTF-8"
_SEPARATORS = ",;\t|"
SEPARATOR_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


class Dialect(NamedTuple):
    """Format of a CSV file: its separator, the column names, and the number of lines before the header."""

    separator: str
    names: list[str]
    before: int


def open_text(path: Path, newline: str = "\n") -> TextIO:
    """Open a text file in UTF-8, or in UTF-16 or UTF-32 with a byte order mark; ``.gz`` is decompressed.

    Args:
        path: the file.
        newline: as in `open`; empty for CSV.

    Raises:
        ArenaError: the file is missing, cannot be read, or looks like UTF-16 without a byte order mark.
    """
    encoding = encoding_of(path)
    opened = gzip.open if _packed(path) else open
    return cast(TextIO, opened(path, "rt", encoding=encoding, newline=newline))


def encoding_of(path: Path) -> str:
    """Return a file's encoding, detected from its first bytes; see `open_text`."""
    try:
        with (gzip.open if _packed(path) else open)(path, "rb") as file:
            head = file.read(_HEAD)
    except FileNotFoundError:
        raise missing_file(path) from None
    except UNREADABLE as error:
        raise ArenaError(f"cannot be read: {error}", where=str(path)) from None
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    if head.count(0) > len(head) // 4:
        raise ArenaError(
            "not UTF-8: looks like UTF-16 without a byte order mark", where=str(path), hint=_SAVE
        )
    return "utf-8"


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield each line that is not blank with its number, counted from 1.

    Raises:
        ArenaError: as in `open_text`, or a line is not UTF-8.
    """
    number = 0
    try:
        with open_text(path) as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line
    except UnicodeDecodeError as error:
        raise encoding_error(error, path, after=number) from None
    except UNREADABLE as error:
        raise ArenaError(f"cannot be read: {error}", where=str(path)) from None


def read_whole_text(path: Path) -> str:
    """Return a file's text; errors as in `numbered_lines`."""
    try:
        with open_text(path) as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise encoding_error(error, path) from None
    except UNREADABLE as error:
        raise ArenaError(f"cannot be read: {error}", where=str(path)) from None


def encoding_error(error: UnicodeError, path: Path, after: int = 0) -> ArenaError:
    """Return the error for a file that cannot be decoded after line ``after``."""
    reason = error.reason if isinstance(error, UnicodeDecodeError) else str(error)
    place = f", after line {after}" if after else ""
    return ArenaError(
        f"not UTF-8: {reason}{place}; the encoding may be an older one (Windows-1252, Latin-1, GBK, ...)",
        where=str(path),
        hint=_SAVE,
    )


def csv_dialect(path: Path) -> Dialect:
    """Return a CSV file's separator (comma, semicolon, tab or bar) and its column names.

    The separator is the comma, unless only another separator splits the header into several columns. A first line
    ``sep=;``, which spreadsheets write, gives the separator and is not the header.

    Raises:
        ArenaError: as in `open_text`, or the file is empty, or the header has a duplicate name.
    """
    try:
        with open_text(path, newline="") as file:
            head = file.read(_HEAD)
    except UnicodeDecodeError as error:
        raise encoding_error(error, path) from None
    except UNREADABLE as error:
        raise ArenaError(f"cannot be read: {error}", where=str(path)) from None
    said = re.match(r'"?sep=(.)"?\r?\n', head)
    before, text = (1, head[said.end() :]) if said else (0, head)
    ways = {mark: _first_row(text, mark) for mark in ([said[1]] if said else _SEPARATORS)}
    separator = next(iter(ways))
    if len(ways[separator]) == 1:
        separator = max(ways, key=lambda mark: len(ways[mark]))  # the comma, if all are equal
    names = ways[separator]
    if not any(name.strip() for name in names):
        raise ArenaError("the file is empty: no header, no rows", where=str(path))
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ArenaError(
            f"the header has the column {twice[0]!r} twice", where=str(path), hint="rename one of the two"
        )
    return Dialect(separator, names, before)


def _first_row(text: str, separator: str) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(text, newline=""), delimiter=separator), [])
    except csv.Error:
        return []


def _packed(path: Path) -> bool:
    return path.suffix.lower() == ".gz"
