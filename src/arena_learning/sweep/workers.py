"""Run the trials of a study in this process, or in several processes that it starts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence

from arena_learning.core import ArenaError, logger
from arena_learning.sweep.study import Study
from arena_learning.sweep.task import InfeasibleError, Task

WORKER = "ARENA_SWEEP_WORKER"  # set in the started processes: they only run trials


def run_worker(study: Study, task: Task, after: Callable[[], object]) -> None:
    """Run trials until there are enough; ``after`` is called after each one, when its result is stored."""
    with study:
        while (taken := study.take()) is not None:
            logger.info(f"trial {taken.number}: {values_line(taken.values)}")
            try:
                outcome = task.run(taken.values, taken)
            except InfeasibleError as reason:
                study.fail(taken, str(reason))
                logger.info(f"trial {taken.number} failed: {reason}")
            else:
                study.finish(taken, outcome)
                said = outcome.pruned or ", ".join(f"{v:+.3f}" for v in outcome.values)
                logger.info(f"trial {taken.number}: {said}")
            after()


def is_helper() -> bool:
    """Whether this process was started by another process of the same sweep."""
    return WORKER in os.environ


class WorkerProcesses:
    """The other workers of a sweep, as a context manager: processes with this one's command line.

    Args:
        count: number of processes besides this one.
    """

    def __init__(self, count: int) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        cores = len(os.sched_getaffinity(0))
        self._environment = {
            **os.environ,
            WORKER: str(os.getpid()),
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, cores // (count + 1)))),
        }
        self._count = 0 if is_helper() else count

    def __enter__(self) -> WorkerProcesses:
        start = "from arena_learning.cli.main import main; main()"
        command = [sys.executable, "-c", start, *sys.argv[1:]]
        self._processes = [
            subprocess.Popen(command, env=self._environment, stdout=subprocess.DEVNULL)
            for _ in range(self._count)
        ]
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            for process in self._processes:
                process.terminate()
        ended = [process.wait() for process in self._processes]
        if kind is None and any(ended):
            logger.info(f"a worker ended with code {max(ended, key=abs)}; others run its trials")


def end_with_parent() -> None:
    """Let a started process end when the process that started it has ended."""
    if is_helper():
        from arena_learning.core import end_with_process

        end_with_process(int(os.environ[WORKER]))


def values_line(values: dict[str, object], names: Sequence[str] = ()) -> str:
    """Return values in one line, each with the last part of its key."""
    return ", ".join(
        f"{path.rsplit('.', 1)[-1]}={value}" for path, value in values.items() if not names or path in names
    )


def check_count(option: str, value: int) -> None:
    """Check that a number is at least 1.

    Raises:
        ArenaError: it is less.
    """
    if value < 1:
        raise ArenaError(f"{value} is too few", where=option, hint="give 1 or more")
