"""Working on a study: one process, or several beside it that are started here."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence

from arena_learning.core import ArenaError
from arena_learning.sweep.study import Study
from arena_learning.sweep.task import InfeasibleError, Task

WORKER = "ARENA_SWEEP_WORKER"  # set in the processes that are started here: they only run trials


def run_worker(study: Study, task: Task, after: Callable[[], object]) -> None:
    """Run trials until there are enough; ``after`` each is called with the trial written down."""
    with study:
        while (taken := study.take()) is not None:
            sys.stderr.write(f"trial {taken.number}: {values_line(taken.values)}\n")
            try:
                outcome = task.run(taken.values, taken)
            except InfeasibleError as reason:
                study.fail(taken, str(reason))
                sys.stderr.write(f"trial {taken.number} failed: {reason}\n")
            else:
                study.finish(taken, outcome)
                said = outcome.pruned or ", ".join(f"{v:+.3f}" for v in outcome.values)
                sys.stderr.write(f"trial {taken.number}: {said}\n")
            after()


def is_helper() -> bool:
    """Whether this process was started by another one of the same sweep."""
    return WORKER in os.environ


class WorkerProcesses:
    """The other workers of a sweep: processes with this one's command line. A context manager.

    Args:
        count: how many beside this process.
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
            sys.stderr.write(f"a worker ended with code {max(ended, key=abs)}; its trials were taken over\n")


def end_with_parent() -> None:
    """Let a helper end when the process that started it is gone."""
    if is_helper():
        from arena_learning.core import end_with_process

        end_with_process(int(os.environ[WORKER]))


def values_line(values: dict[str, object], names: Sequence[str] = ()) -> str:
    """Return values in a line, by the last part of their keys."""
    return ", ".join(
        f"{path.rsplit('.', 1)[-1]}={value}" for path, value in values.items() if not names or path in names
    )


def check_count(option: str, value: int) -> None:
    """Refuse a number below 1.

    Raises:
        ArenaError: it is.
    """
    if value < 1:
        raise ArenaError(f"{value} is too few", where=option, hint="1 or more")
