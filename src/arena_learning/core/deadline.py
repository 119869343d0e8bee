"""The moment at which a run must stop (`budget.hours`), for all its stages and the processes that they start."""

from __future__ import annotations

import os
import time

from arena_learning.core.errors import ArenaError

STOP_AT = "ARENA_STOP_AT"  # environment variable: seconds since 1970, and the hours that the run was given


def start_deadline(hours: float | None) -> None:
    """Let this process, and those that it starts, stop after ``hours``; None: no limit.

    A stage keeps the deadline of the run that it belongs to.
    """
    if hours is not None and STOP_AT not in os.environ:
        os.environ[STOP_AT] = f"{time.time() + 3600 * hours:.3f} {hours:g}"


def past_deadline() -> bool:
    """Whether the run must stop now; False if there is no limit."""
    at, _, _ = os.environ.get(STOP_AT, "").partition(" ")
    return bool(at) and time.time() >= float(at)


def has_deadline() -> bool:
    """Whether the run's hours are limited."""
    return STOP_AT in os.environ


def check_deadline(missing: str) -> None:
    """Stop if the run's hours are used up.

    Args:
        missing: what the stage has not done yet, for the message.

    Raises:
        ArenaError: they are.
    """
    if past_deadline():
        raise deadline_error(missing)


def deadline_error(missing: str) -> ArenaError:
    """Return the error of a run whose hours are used up; ``missing`` as in `check_deadline`."""
    _, _, hours = os.environ.get(STOP_AT, "").partition(" ")
    return ArenaError(
        f"the run has used up its {hours} hours; missing: {missing}",
        where="params.yaml, budget.hours",
        hint="all that was made is kept: run again to go on for as many hours, or raise budget.hours "
        "(`arena plan` says what is missing)",
    )
