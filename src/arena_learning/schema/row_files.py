"""Files of rows: JSON Lines in UTF-8, one row per line, keys sorted, so that equal rows give equal bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from arena_learning.core import ArenaError, append_json, canonical, how_to_make, new_text_file
from arena_learning.schema.rows import Row

R = TypeVar("R", bound=Row)


def read_rows(path: Path, kind: type[R]) -> list[R]:
    """Read a JSON Lines file of ``kind`` rows.

    Raises:
        ArenaError: the file is missing, a folder or not UTF-8, or a line is malformed; with file and line.

    Example:
        >>> import tempfile
        >>> from arena_learning.schema import Instruction, Turn
        >>> file = Path(tempfile.mkdtemp()) / "pool.jsonl"
        >>> write_rows(file, [Instruction(id="q1", turns=[Turn(role="user", content="Why is the sky blue?")])])
        >>> [row.id for row in read_rows(file, Instruction)]
        ['q1']
    """
    return list(iter_rows(path, kind))


def iter_rows(path: Path, kind: type[R]) -> Iterator[R]:
    """Yield the rows of a JSON Lines file; see `read_rows`."""
    return (row for _, row in numbered_rows(path, kind))


def numbered_rows(path: Path, kind: type[R]) -> Iterator[tuple[int, R]]:
    """Yield line numbers and rows of a JSON Lines file, skipping blank lines; see `read_rows`."""
    try:
        # Some editors write a byte order mark. Only "\n" ends a row, not "\r".
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, _parse(line, kind, f"{path}, line {number}")
    except FileNotFoundError:
        raise ArenaError("no such file", where=str(path), hint=how_to_make(path)) from None
    except UnicodeDecodeError as error:
        raise ArenaError(f"not UTF-8: {error.reason}", where=str(path), hint="save it as UTF-8") from None
    except OSError as error:
        raise ArenaError(f"cannot be read: {error.strerror}", where=str(path)) from None


def write_rows(path: Path, rows: Iterable[R]) -> None:
    """Write ``rows`` to ``path`` as JSON Lines, atomically, creating its folder."""
    with rows_file(path) as write:
        write(rows)


def append_row(path: Path, row: Row) -> None:
    """Append a row to a JSON Lines file, and return when it is on the disk; see `core.append_json`."""
    append_json(path, row.model_dump(mode="json"))


@contextmanager
def rows_file(path: Path) -> Iterator[Callable[[Iterable[Row]], None]]:
    """Yield a function that writes rows; after the block the file replaces ``path``, after an error it is deleted.

    Written rows are not kept in memory.
    """
    with new_text_file(path) as file:
        yield lambda rows: file.writelines(f"{canonical(row.model_dump(mode='json'))}\n" for row in rows)


def _parse(line: str, kind: type[R], where: str) -> R:
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        raise ArenaError(
            describe_invalid(error),
            where=where,
            hint=kind.HINT or f"see {kind.__name__} in docs/reference/rows.md",
        ) from None


def describe_invalid(error: ValidationError) -> str:
    """Return a validation error in one line, without quoting long values."""
    parts = []
    for problem in error.errors(include_url=False):
        place = ".".join(str(p) for p in problem["loc"]) or "the row"
        parts.append(f"{place}: {problem['msg'].removeprefix('Value error, ')}")
    return "; ".join(parts[:5]) + ("; ..." if len(parts) > 5 else "")
