"""One process of a launched training.

    python -m arena_learning.train.worker SPEC

A launcher (`accelerate launch`) starts it as often as ``launch.processes`` says; on Ray, `ray_launch.py` calls `work`.
SPEC is the file that `launch.py` writes. The first process writes the model and the report beside it; every process has
a file of what it says.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arena_learning.core import ArenaError, Paths, Progress, is_locked, read_json, write_json
from arena_learning.schema import PreferenceRow, SftRow, read_rows
from arena_learning.train import processes
from arena_learning.train.launch import FAILED, LOCK, REPORT, TrainingSpec, error_name, log_name
from arena_learning.train.report import TrainReport

if TYPE_CHECKING:
    from arena_learning.train.online import RewardInputs

_POLL_SECONDS = 1.0


class SilentProgress(Progress):
    """A progress line that is not shown."""

    def _say(self, now: float, note: str) -> None:
        pass


def train_here(
    spec: TrainingSpec,
    rows: Sequence[Any],
    *,
    progress: Callable[..., Progress] = Progress,
    rewards: RewardInputs | None = None,
) -> TrainReport:
    """Run a training in this process, alone or beside others of the same training.

    Raises:
        ArenaError: see `train_round`.
    """
    from arena_learning.train.session import Session  # imports torch and TRL

    session = Session(
        method=spec.method,
        init=Path(spec.init),
        out=Path(spec.out),
        params=spec.train,
        seed=spec.seed,
        checkpoints=Path(spec.checkpoints),
        trust_remote_code=spec.trust_remote_code,
        progress=progress,
        rewards=rewards,
    )
    return session.run(rows)


def main() -> None:
    """Run one process of the training that the file on the command line describes."""
    path = Path(sys.argv[1])
    end_with_stage(path.parent / LOCK)
    _leave(work(path))


def work(path: Path) -> int:
    """Run one process of the training that a file describes; all that it says goes to a file of its own.

    Returns:
        0, `FAILED` after an error that the user can fix, or 1; of both the error is in a file.
    """
    folder, rank = path.parent, int(os.environ.get("RANK", "0"))
    _speak_into(folder / log_name(rank))
    # The precision is `train.precision`, whatever accelerate's configuration says.
    os.environ["ACCELERATE_MIXED_PRECISION"] = "no"
    try:
        report = _train(TrainingSpec.model_validate(read_json(path)))
    except Exception as error:  # noqa: BLE001 (the stage reads it in the file)
        write_error(folder / error_name(rank), error)
        if isinstance(error, ArenaError):
            return FAILED
        traceback.print_exc()  # into this process's file
        return 1
    if processes.is_first():
        write_json(folder / REPORT, report.to_dict())
    return 0


def _train(spec: TrainingSpec) -> TrainReport:
    from accelerate import PartialState

    from arena_learning.train.arguments import choose_device
    from arena_learning.train.online import open_rewards

    PartialState(cpu=choose_device(spec.train) == "cpu")
    opened = (
        nullcontext()
        if spec.params is None
        else open_rewards(spec.round, spec.params, Paths(Path(spec.root)))
    )
    with opened as rewards:
        if rewards is not None:
            rows: Sequence[Any] = rewards.instructions
        elif spec.method in ("sft", "rft"):
            rows = read_rows(Path(spec.sft), SftRow)
        else:
            rows = read_rows(Path(spec.preferences), PreferenceRow)
        progress = Progress if processes.is_first() else SilentProgress
        report = train_here(spec, rows, progress=progress, rewards=rewards)
    processes.total(1)  # nobody leaves before the first has written the model
    return report


def write_error(path: Path, error: Exception) -> None:
    """Write a process's error to a file, for the stage."""
    told: dict[str, Any] = {"time": time.time(), "known": isinstance(error, ArenaError)}
    if isinstance(error, ArenaError):
        told |= {"what": error.what, "where": error.where, "hint": error.hint}
    else:
        told |= {"what": f"{type(error).__name__}: {error}"}
    write_json(path, told)


def _speak_into(path: Path) -> None:
    """Write all that this process says to a file: the stage shows the first one's, and quotes the one that fails."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)


def end_with_stage(lock: Path) -> None:
    """Start a thread that ends this process when the stage has died, which holds the lock as long as it lives."""

    def watch() -> None:
        pause = threading.Event()
        while is_locked(lock):
            pause.wait(_POLL_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True, name="end-with-stage").start()


def _leave(code: int) -> None:
    """Leave at once: the others of a process that has failed do not answer any more."""
    sys.stdout.flush()
    sys.stderr.flush()
    if code == 0:
        import torch.distributed as group

        if group.is_available() and group.is_initialized():
            group.destroy_process_group()
    os._exit(code)


if __name__ == "__main__":
    main()
