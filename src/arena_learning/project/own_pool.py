"""Instructions of one's own for a new project: read by `arena import`'s readers, with the answers that they bring."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from arena_learning.core import ArenaError, write_text
from arena_learning.importers import import_files, records
from arena_learning.params import suggested
from arena_learning.pool import read_pool
from arena_learning.project.shipped import shipped
from arena_learning.schema import Instruction


class StarterPool(NamedTuple):
    """The instructions that a new project starts with, and the files to copy.

    Attributes:
        size: number of different instructions.
        rubrics: whether any instruction has a rubric.
        references: whether any instruction has a reference answer.
        own: whether they are the user's.
        answers: files of recorded answers by contestant.
        file: the pool, as JSON Lines of `Instruction`.
    """

    size: int
    rubrics: bool
    references: bool
    own: bool
    answers: dict[str, Path]
    file: Path

    def copy_to(self, root: Path) -> list[str]:
        """Copy pool and answers below ``root``; files that exist stay. Return the written paths."""
        wanted = {"data/pool.jsonl": self.file}
        wanted |= {f"data/opponents/{name}.jsonl": path for name, path in self.answers.items()}
        if not self.own:
            wanted |= {name: shipped(name) for name in ("data/README.md", "data/judge_labels.jsonl")}
        written = [name for name in wanted if not (root / name).exists()]
        for name in written:
            write_text(root / name, wanted[name].read_text(encoding="utf-8"))
        return written


@contextmanager
def starter_pool(file: Path | None, answers: Mapping[str, Path] | None = None) -> Iterator[StarterPool]:
    """Yield the user's pool, or the shipped one without a ``file``; imported files last as long as the block.

    Args:
        file: a pool (JSON Lines of `Instruction`), or any table that `arena import` reads.
        answers: files of recorded answers to the pool, by contestant.

    Raises:
        ArenaError: the file cannot be read, brings no instructions, or answers of two whose names become one.
    """
    if file is None:
        yield _facts(shipped("data/pool.jsonl"), answers_in(shipped("data/opponents")), own=False)
        return
    if _is_pool(file):
        yield _facts(file, dict(answers or {}), own=True)
        return
    with TemporaryDirectory() as folder:
        out = Path(folder)
        _import(file, out)
        if not (out / "instructions.jsonl").is_file():
            raise ArenaError(
                "the file has no instructions",
                where=str(file),
                hint="give a file with a column such as instruction, prompt or conversation",
            )
        brought: dict[str, Path] = {}
        for name, path in answers_in(out / "answers").items():
            if (ours := suggested(name) or "answers") in brought:
                raise ArenaError(
                    f"two of those who answered would have the name '{ours}' in params.yaml",
                    where=str(file),
                    hint=f"rename '{name}' in the file",
                )
            brought[ours] = path
        yield _facts(out / "instructions.jsonl", brought, own=True)


def answers_in(folder: Path) -> dict[str, Path]:
    """Return the files of recorded answers in a folder, by contestant."""
    return {path.stem: path for path in sorted(folder.glob("*.jsonl"))}


def _import(file: Path, out: Path) -> None:
    """Import a table; where it has no column that is read, say how one is named."""
    kind = "parquet" if file.suffix == ".parquet" else "jsonl"
    try:
        import_files(kind, [file], out)
    except ArenaError as error:
        _, found, column = error.hint.rpartition("--column ")
        if error.where or not found:
            raise
        name = shlex.quote(str(file))
        command = f"arena import {kind} {name} --out imported --column {column}"
        raise ArenaError(
            f"the file has no instructions: {error.what}",
            where=str(file),
            hint=f"run `{command}`, with the column that holds them, and give `--pool imported/instructions.jsonl`",
        ) from None


def _facts(file: Path, answers: dict[str, Path], *, own: bool) -> StarterPool:
    pool = read_pool(file)
    references = any(one.reference for one in pool) or not own  # the shipped ones stand in a file of answers
    size = len({" ".join(" ".join(turn.content for turn in one.turns).lower().split()) for one in pool})
    return StarterPool(size, any(one.rubric for one in pool), references, own, answers, file)


def _is_pool(file: Path) -> bool:
    """Whether a file has rows of `Instruction`: no other table has the field ``turns`` beside ``id`` alone."""
    if file.suffix != ".jsonl" or not file.is_file():
        return False
    first = next(iter(records(file)), None)
    return first is not None and first.has("turns") and first.fields.keys() <= set(Instruction.model_fields)


def copy_answers(source: Path, out: Path) -> bool:
    """Copy a file of recorded answers into the project; return whether it was not there yet."""
    if out.exists():
        return False
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, out)
    return True


def refuse_other_answers(source: Path, out: Path) -> None:
    """Raise an `ArenaError` if a copy of ``source`` would replace other answers of the project."""
    if out.exists() and out.read_bytes() != source.read_bytes():
        name = shlex.quote(str(out))
        raise ArenaError(
            "the project has other answers of this name",
            where=str(out),
            hint=f"name the opponent otherwise, or move the file away: `mv {name} {name}.old`",
        )
