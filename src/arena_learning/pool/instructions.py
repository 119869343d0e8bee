"""Reads the pool and benchmark files of any public format; what cannot be used is counted with its file and line."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

from arena_learning.core import ArenaError
from arena_learning.importers import FoundInstruction, files_of, iter_instructions
from arena_learning.schema import Instruction, parse_criterion

_WANTED = (
    'write them a line each, as {"id": "q1", "turns": [{"role": "user", "content": "..."}]}, or give a '
    "table with a column `instruction` or `prompt`"
)
_SHOWN = 20  # malformed rows that the card names


class PoolFiles:
    """The instructions of a file or folder, and what was not one.

    Attributes:
        instructions: the instructions in the order of the files, each with its own id.
        flagged: ids of those that their source has flagged as toxic.
        malformed: number of malformed rows.
        first_malformed: the first of them, each with its file, line and problem.
        passed: number of well-formed rows without a usable instruction, by reason.
        renamed: number of instructions whose id was taken, and got another.
    """

    def __init__(self) -> None:
        self.instructions: list[Instruction] = []
        self.flagged: set[str] = set()
        self.malformed = 0
        self.first_malformed: list[str] = []
        self.passed: Counter[str] = Counter()
        self.renamed = 0
        self._places: dict[str, str] = {}

    def read(self, path: Path, *, strict: bool = True) -> None:
        """Add the instructions of a file, or of a folder of files.

        Args:
            path: the file or folder.
            strict: raise the error of the first malformed row; else malformed rows are counted.

        Raises:
            ArenaError: a file is missing or cannot be read, or has no instructions; or a malformed row, a malformed
                rubric criterion, or an id used twice by this project's own rows, if ``strict``; with file and line.
        """

        def bad(error: ArenaError) -> None:
            if strict:
                hint = (
                    error.hint
                    or "correct the row, or let `pool.strict: false` pass over such rows and count them"
                )
                raise ArenaError(error.what, where=error.where, hint=hint)
            self.malformed += 1
            if len(self.first_malformed) < _SHOWN:
                self.first_malformed.append(f"{error.where}: {error.what}")

        before = len(self.instructions)
        for found in iter_instructions(path, bad, self.passed):
            try:
                self._add(found)
            except ArenaError as error:
                bad(error)
        if len(self.instructions) == before:
            why = ", ".join([f"{n} of {reason}" for reason, n in self.passed.items()])
            problem = f"{self.malformed} malformed rows" if self.malformed else why
            first = f"first: {self.first_malformed[0]}" if self.first_malformed else ""
            what = "the file contains no instructions" + (f" ({problem})" if problem else "")
            raise ArenaError(what, where=str(path), hint=first or _WANTED)

    def card(self) -> dict[str, Any]:
        """Return the counts of what was read for the data card."""
        return {
            "malformed": self.malformed,
            "first_malformed": self.first_malformed,
            "passed_over": dict(sorted((+self.passed).items())),
            "renamed": self.renamed,
            "sources": dict(sorted(Counter(i.source for i in self.instructions).items())),
        }

    def _add(self, found: FoundInstruction) -> None:
        instruction = found.instruction
        for place, raw in enumerate(instruction.rubric, 1):
            parse_criterion(raw, f"{found.where}, rubric criterion {place}")
        if instruction.id in self._places:
            instruction = self._renamed(found)
        self._places[instruction.id] = found.where
        self.instructions.append(instruction)
        if found.flagged:
            self.flagged.add(instruction.id)

    def _renamed(self, found: FoundInstruction) -> Instruction:
        """Return an instruction under a free id: two public files may use the same ids, and repeat a text."""
        if found.own:
            place = _beside(self._places[found.instruction.id], found)
            raise ArenaError(
                f"the id {found.instruction.id!r} is already used in {place}",
                where=found.where,
                hint="give each instruction its own id",
            )
        said = "\n".join(turn.content for turn in found.instruction.turns)
        base = f"{found.instruction.id}-{hashlib.sha256(said.encode()).hexdigest()[:8]}"
        name, number = base, 1
        while name in self._places:
            number += 1
            name = f"{base}-{number}"
        self.renamed += 1
        return found.instruction.model_copy(update={"id": name})


def read_pool(path: Path, *, strict: bool = True) -> list[Instruction]:
    """Read and check the instructions of ``path``: a file of any format that `PoolFiles` reads, or a folder of them.

    Args:
        path: the file or folder.
        strict: raise the error of the first malformed row; else malformed rows are passed over.

    Raises:
        ArenaError: as in `PoolFiles.read`.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "pool.jsonl"
        >>> _ = file.write_text('{"id": "q1", "turns": [{"role": "user", "content": "Why is the sky blue?"}]}')
        >>> read_pool(file)[0].category
        'other'
    """
    files = PoolFiles()
    files.read(path, strict=strict)
    return files.instructions


def read_benchmarks(paths: list[Path], *, strict: bool = True) -> list[Instruction]:
    """Read benchmark items; each gets its file's or folder's name before its id, for the report.

    Raises:
        ArenaError: as in `PoolFiles.read`.
    """
    items = []
    for path in paths:
        items += [
            item.model_copy(update={"id": f"{path.stem}:{item.id}"})
            for item in read_pool(path, strict=strict)
        ]
    return items


def pool_files(path: Path) -> list[Path]:
    """Return the files that `PoolFiles.read` reads; an empty list if there are none."""
    try:
        return [file for file in files_of(path) if file.is_file()]
    except ArenaError:
        return []


def _beside(place: str, found: FoundInstruction) -> str:
    """Return a place; without its file, if the instruction found is of the same one."""
    file, _, line = place.rpartition(", ")
    return line if found.where.startswith(f"{file}, ") else place
