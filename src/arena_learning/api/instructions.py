"""Instructions from whatever a user has: texts, a table, a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeAlias, cast

from arena_learning.core import ArenaError
from arena_learning.schema import Instruction, Turn

if TYPE_CHECKING:
    import pandas as pd

    Questions: TypeAlias = str | Path | pd.DataFrame | Sequence[str] | Sequence[Instruction]


def read_instructions(source: Questions) -> list[Instruction]:
    """Return instructions.

    Args:
        source: texts; rows of `Instruction`; a data frame; or the path of a file. Frame and file are a pool (columns of
            `Instruction`) or any table that `arena import` reads (``prompt``, ``instruction``, ``conversation``, ...).

    Raises:
        ArenaError: the file or frame cannot be read, has no instructions, or an id is given twice.

    Example:
        >>> [one.id for one in read_instructions(["Why is the sky blue?", "Name a river."])]
        ['q1', 'q2']
    """
    if isinstance(source, str | Path):
        return _from_file(Path(source))
    if hasattr(source, "to_json"):
        table = cast("pd.DataFrame", source)
        with TemporaryDirectory() as folder:
            file = Path(folder) / "frame.jsonl"
            table.to_json(file, orient="records", lines=True, force_ascii=False)
            return _from_file(file)
    found = [_instruction(one, number) for number, one in enumerate(source, 1)]
    if not found:
        raise ArenaError("there are no instructions", hint="give at least one")
    doubled = [name for name, times in Counter(one.id for one in found).items() if times > 1]
    if doubled:
        raise ArenaError(f"the id {min(doubled)!r} is given twice", hint="give each instruction its own id")
    return found


def _instruction(one: object, number: int) -> Instruction:
    if isinstance(one, Instruction):
        return one
    if not isinstance(one, str):
        raise ArenaError(
            f"instruction {number} is {type(one).__name__}, not a text", hint="give texts or a data frame"
        )
    if not one.strip():
        raise ArenaError(f"instruction {number} is empty", hint="remove it")
    return Instruction(id=f"q{number}", turns=(Turn(role="user", content=one),))


def _from_file(file: Path) -> list[Instruction]:
    from arena_learning.pool import read_pool
    from arena_learning.project import starter_pool

    with starter_pool(file) as pool:
        return read_pool(pool.file)
