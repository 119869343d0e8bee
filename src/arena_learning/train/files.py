"""One round of training, from files to files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from arena_learning.core.errors import ArenaError
from arena_learning.core.progress import Progress
from arena_learning.schema.rows import PreferenceRow, SftRow, read_rows
from arena_learning.train.report import Method, TrainReport

if TYPE_CHECKING:
    from arena_learning.params import Train

SWEPT = ("README.md", "training_args.bin")  # what trainers leave in a model's folder and nobody reads


def train_round(
    method: Method,
    *,
    init: Path,
    out: Path,
    sft: Path,
    preferences: Path,
    params: Train,
    seed: int,
    checkpoints: Path,
    trust_remote_code: bool = False,
    progress: Callable[..., Progress] = Progress,
) -> TrainReport:
    """Train the model at ``init`` on a round's rows and write the new one to ``out``, whole or not at all.

    Killed while training, it goes on from its last complete checkpoint when it is called again with the same
    inputs, and ends as if nothing had happened; PPO itself starts again (its reward model is kept).

    Args:
        method: ``sft`` reads ``sft``; ``dpo`` and ``ppo`` read ``preferences``.
        init: a model's folder (safetensors).
        out: the folder to write; replaced if it is there.
        sft: the round's `SftRow` file.
        preferences: the round's `PreferenceRow` file.
        params: how to train.
        seed: of everything random.
        checkpoints: a folder of this round's own, outside of ``out``; removed at the end.
        trust_remote_code: run code that comes with the model.
        progress: what makes the progress line: called with label, total and unit.

    Returns:
        The report. With no rows to learn from, ``out`` is a copy of ``init``, `rows` is 0, a warning says so.

    Raises:
        ArenaError: ``init`` is no model, its chat template never ends a turn, the rows are malformed, or the
            device is not there.
    """
    if method not in ("sft", "dpo", "ppo"):
        raise ArenaError(f"unknown method '{method}'", mend="use sft, dpo or ppo")
    if not (init / "config.json").is_file():
        raise ArenaError("no model here", where=str(init), mend="run the stage that makes it")
    source = sft if method == "sft" else preferences
    rows: list[SftRow] | list[PreferenceRow]
    rows = read_rows(sft, SftRow) if method == "sft" else read_rows(preferences, PreferenceRow)
    if not rows:
        copy_model(init, out)
        shutil.rmtree(checkpoints, ignore_errors=True)
        return TrainReport(method=method, rows=0, warnings=(no_rows(str(source)),))

    from arena_learning.train.session import Session  # torch and TRL, only now

    session = Session(
        method=method,
        init=init,
        out=out,
        params=params,
        seed=seed,
        checkpoints=checkpoints,
        trust_remote_code=trust_remote_code,
        progress=progress,
    )
    report = session.run(rows)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return report


def copy_model(init: Path, out: Path) -> None:
    """Copy a model's folder to ``out``, whole or not at all."""
    temporary = fresh_beside(out)
    shutil.copytree(
        init, temporary, ignore=shutil.ignore_patterns("reward_model", *SWEPT), dirs_exist_ok=True
    )
    move_into_place(temporary, out)


def fresh_beside(out: Path) -> Path:
    """Return a new empty folder beside ``out``, on its file system; a killed run's is removed."""
    temporary = out.parent / f".{out.name}.new"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    return temporary


def move_into_place(temporary: Path, out: Path) -> None:
    """Put ``temporary`` where ``out`` is (a folder is not replaced in one step: the old one goes first)."""
    if out.is_symlink() or out.is_file():
        out.unlink()
    else:
        shutil.rmtree(out, ignore_errors=True)
    temporary.replace(out)


def no_rows(where: str) -> str:
    """Return the warning of a round that has nothing to learn from."""
    return (
        f"no rows to learn from ({where}): the model is a copy of its start and will rate as it does; "
        "lower the round's threshold, or give it more instructions"
    )
