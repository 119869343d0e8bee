"""Reads and atomically writes JSON and text files, in a canonical form: equal content gives equal bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from arena_learning.core.atomic import atomic_write
from arena_learning.core.errors import ArenaError
from arena_learning.core.makers import how_to_make

# Created once: `json.dumps` with options creates an encoder at each call.
_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def canonical(value: object) -> str:
    """Return ``value`` as compact JSON with sorted keys: equal values give equal text.

    Example:
        >>> canonical({"b": 1, "a": [True, None]})
        '{"a":[true,null],"b":1}'
    """
    return _CANONICAL.encode(value)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        ArenaError: the file is missing or malformed.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArenaError("no such file", where=str(path), hint=how_to_make(path)) from None
    except ValueError as error:
        raise ArenaError(f"not JSON: {error}", where=str(path)) from None
    except OSError as error:
        raise ArenaError(f"cannot be read: {error.strerror}", where=str(path)) from None


def write_json(path: Path, value: object) -> None:
    """Write ``value`` as indented JSON with sorted keys, atomically, creating its folder."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` atomically (``path`` may be a read-only link made by DVC)."""
    with new_text_file(path) as file:
        file.write(text)


@contextmanager
def new_text_file(path: Path) -> Iterator[TextIO]:
    """Yield a text file (UTF-8) to write to; after the block it replaces ``path``, after an error it is deleted."""
    with atomic_write(path) as written, written.open("w", encoding="utf-8", newline="\n") as file:
        yield file
