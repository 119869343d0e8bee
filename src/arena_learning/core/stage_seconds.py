"""How long the stages of the pipeline take: each notes its seconds, and says how much of a planned run is left.

`arena repro` plans a run and hands the plan to DVC's stages in an environment variable. A stage that DVC runs without
a plan prints nothing more than before.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import NamedTuple

from arena_learning.core.append import append_json
from arena_learning.core.messages import logger
from arena_learning.core.paths import Paths

PLAN = "ARENA_REPRO_PLAN"  # environment variable with the plan: JSON, seconds (or null) by stage, in order
_TELLING = 30.0  # planned seconds after which the pace of a run says something about the rest
_ODD = 1.3  # a pace that is said
_STAGE = "DVC_STAGE"  # set by DVC: the name of the stage that it runs


@contextmanager
def timed_stage(paths: Paths) -> Iterator[None]:
    """Print what is left of the plan, and note the block's seconds if DVC runs it as a stage and it succeeds."""
    stage = os.environ.get(_STAGE, "")
    place = _place(stage, os.environ.get(PLAN, ""), paths)
    if place:
        logger.info(place)
    start = time.monotonic()
    try:
        yield
    except BaseException:
        _note(stage, time.monotonic() - start, paths, failed=True)
        raise
    _note(stage, time.monotonic() - start, paths)


class StageRun(NamedTuple):
    """A run of a stage under DVC.

    Attributes:
        stage: the stage's name in dvc.yaml.
        seconds: how long it took.
        ended: when it ended (UTC, as in the store); empty in lines of earlier versions.
        failed: whether it ended in an error.
    """

    stage: str
    seconds: float
    ended: str = ""
    failed: bool = False


def read_stage_runs(paths: Paths) -> list[StageRun]:
    """Return the runs of stages under DVC in this project, in order."""
    try:
        lines = paths.stage_seconds.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    found: list[StageRun] = []
    for line in lines:
        try:
            row = json.loads(line)
            ended, failed = str(row.get("ended", "")), bool(row.get("failed", False))
            found.append(StageRun(str(row["stage"]), float(row["seconds"]), ended, failed))
        except (ValueError, KeyError, TypeError):  # a line that a kill has cut: an older run's figure stands
            continue
    return found


def read_seconds(paths: Paths) -> dict[str, float]:
    """Return the seconds of each stage's last complete run, by the stage's name in dvc.yaml."""
    return {run.stage: run.seconds for run in read_stage_runs(paths) if not run.failed}


def left_text(plan: Mapping[str, float | None]) -> str:
    """Return the time that the stages of ``plan`` take together, in words; None is a stage of unknown length.

    Example:
        >>> left_text({"weights": 20.0, "train@sft-i1": 400.0, "track": None})
        'about 7 min, without 1 stage of unknown length'
    """
    known = [seconds for seconds in plan.values() if seconds is not None]
    unknown = len(plan) - len(known)
    if unknown and not known:
        return "unknown time"
    minutes = round(sum(known) / 60)
    about = f"about {minutes} min" if minutes else "less than a minute"
    return (
        f"{about}, without {unknown} stage{'s' if unknown > 1 else ''} of unknown length"
        if unknown
        else about
    )


def pace(planned: Mapping[str, float | None], taken: Mapping[str, float]) -> float:
    """Return how many times the planned seconds the stages have taken; 1 where little has run.

    Args:
        planned: seconds of the stages before this one; None is unknown.
        taken: seconds of each stage's last run.

    Example:
        >>> pace({"weights": 20.0, "battle@sft-i1": 40.0}, {"weights": 30.0, "battle@sft-i1": 150.0})
        3.0
    """
    known = {name: seconds for name, seconds in planned.items() if seconds and name in taken}
    expected = sum(known.values())
    return sum(taken[name] for name in known) / expected if expected >= _TELLING else 1.0


def _place(stage: str, plan: str, paths: Paths) -> str:
    """Return where in the plan the stage stands, and what is left at the run's pace; empty if it is in no plan."""
    known: dict[str, float | None] = json.loads(plan) if plan else {}
    if stage not in known:
        return ""
    names = list(known)
    number = names.index(stage) + 1
    times = pace({name: known[name] for name in names[: number - 1]}, read_seconds(paths))
    later = {name: known[name] for name in names[number - 1 :]}
    left = {name: None if seconds is None else seconds * times for name, seconds in later.items()}
    said = f"stage {number} of {len(names)}; left: {left_text(left)}"
    usual = 1 / _ODD < times < _ODD
    return said if usual else f"{said} (stages take {times:.1f} times as long as planned)"


def _note(stage: str, seconds: float, paths: Paths, *, failed: bool = False) -> None:
    if not stage:
        return
    row = {"stage": stage, "seconds": round(seconds, 1), "ended": now_text()}
    append_json(paths.stage_seconds, row | ({"failed": True} if failed else {}))


def now_text() -> str:
    """Return the time to the second in UTC, in the form of the store's column ``created``."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
