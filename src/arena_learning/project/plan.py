"""Plan a run of the pipeline: which stages DVC would run, and about how long each takes.

DVC's dry run names the stages that have changed. A stage that reads what these write runs only if that is different
then, which nobody knows beforehand: the plan lists it, and its time is an upper bound.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from arena_learning.core import ArenaError, Paths, hold_stage_lock, left_text, read_json, read_seconds
from arena_learning.params import Params, load_params
from arena_learning.project.dvc_stages import DVC, Lock, outs, read_lock
from arena_learning.project.inputs import write_inputs
from arena_learning.project.profile import profile_names
from arena_learning.project.shipped import profiles_folder

_STAGE = re.compile(r"^(?:(Running) stage|Stage) '([^']+)'", re.MULTILINE)  # a line of `dvc repro --dry`
_SILENT = {
    "-q",
    "--quiet",
    "-i",
    "--interactive",
}  # options of `dvc repro` with which a dry run tells no plan


class PlannedStage(NamedTuple):
    """A stage of a plan.

    Attributes:
        name: its name in dvc.yaml.
        certain: whether it will run; otherwise it runs only if a planned stage changes what it reads.
        seconds: how long it takes; None if unknown.
        ran_here: whether these are the seconds of its last run in this project.
    """

    name: str
    certain: bool
    seconds: float | None
    ran_here: bool


class RunPlan(NamedTuple):
    """The stages in the order of the run, and where the seconds of those come from that have not run here."""

    stages: tuple[PlannedStage, ...]
    source: str


def plan_run(arguments: Sequence[str], params: Params, paths: Paths) -> RunPlan | None:
    """Return what `dvc repro` with these ``arguments`` would run; None if DVC reports an error.

    The digests of the files that params.yaml names are written first, as the stage `inputs` does in any run: without
    them DVC would not see that such a file has changed.
    """
    with hold_stage_lock("inputs", paths):
        write_inputs(params, paths)
    kept = [argument for argument in arguments if argument not in _SILENT]
    lock = read_lock(paths)
    seen = _dry_run(kept, lock, paths)
    if seen is None:
        return None
    own = read_seconds(paths)
    listed, source = profile_seconds(params, paths)
    names = _with_dependents(seen, lock)
    stages = (PlannedStage(name, seen[name], own.get(name, listed.get(name)), name in own) for name in names)
    return RunPlan(tuple(stages), source)


def _dry_run(arguments: Sequence[str], lock: Lock, paths: Paths) -> dict[str, bool] | None:
    """Return the stages in DVC's order, and whether each will run; None if DVC reports an error.

    DVC's dry run stops at the first stage whose inputs nothing has made yet, as in a fresh clone. A forced one lists
    all stages; those behind that place will run if they have never run or if a file that they write is missing.
    """
    done = _dvc([*arguments, "--dry"])
    seen = _stages_in(done.stdout)
    if not done.returncode:
        return seen
    forced = _dvc([*arguments, "--dry", "--force"])
    if forced.returncode:
        return None
    return {name: seen.get(name, _lacks_files(name, lock, paths)) for name in _stages_in(forced.stdout)}


def _dvc(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DVC, "repro", *arguments], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


def _stages_in(output: str) -> dict[str, bool]:
    return {name: bool(running) for running, name in _STAGE.findall(output)}


def _lacks_files(name: str, lock: Lock, paths: Paths) -> bool:
    return name not in lock or not all((paths.root / path).exists() for path in outs(lock[name]))


def _with_dependents(seen: Mapping[str, bool], lock: Lock) -> list[str]:
    """Return the stages that will run, and those that read what they write, directly or not.

    Args:
        seen: the stages in DVC's order, and whether each will run.
        lock: their dependencies and outputs. A stage that is not in it has never run, so it will.
    """
    planned: list[str] = []
    written: list[str] = []
    for name, running in seen.items():
        stage = lock.get(name, {})
        reads = [dep["path"] for dep in stage.get("deps", ())]
        if running or any(_overlap(one, other) for one in reads for other in written):
            planned.append(name)
            if name != "inputs":  # it has been brought up to date, so DVC has compared what it writes
                written += outs(stage)
    return planned


def _overlap(one: str, other: str) -> bool:
    """Whether two paths are the same or one is a folder around the other."""
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def profile_seconds(params: Params, paths: Paths) -> tuple[Mapping[str, float], str]:
    """Return the seconds of stages from the table beside the profiles, and where they were measured.

    They hold only for a params.yaml that equals a profile, but for `serving`, which is chosen for the machine, prices
    and budget. Both are empty if there is no such profile or no table.
    """
    folder = profiles_folder(paths)
    file = folder / "seconds.json"
    table: dict[str, Any] = read_json(file) if file.is_file() else {}
    for name in sorted(table.keys() & set(profile_names(folder))):
        try:
            profile = load_params(folder / f"{name}.yaml")
        except ArenaError:  # a profile that somebody is editing: no figures
            continue
        other = {key: getattr(profile, key) for key in ("serving", "prices", "budget")}
        if params.model_copy(update=other) == profile:
            return table[name]["stages"], f"profile {name} on {table[name]['measured']}"
    return {}, ""


def plan_text(plan: RunPlan) -> str:
    """Return the plan in words: the stages, their time, and where the figures are from."""
    if not plan.stages:
        return "no stage to run"
    sure = sum(stage.certain for stage in plan.stages)
    maybe = len(plan.stages) - sure
    time = left_text({stage.name: stage.seconds for stage in plan.stages})
    follow = f", and {maybe} more if what they read changes. Together" if maybe else ""
    lines = [f"{sure} stage{'s' if sure != 1 else ''} to run{follow}: {time}"]
    width = max(len(stage.name) for stage in plan.stages)
    for stage in plan.stages:
        notes = "" if stage.certain else "  if what it reads changes"
        star = "*" if stage.seconds is not None and not stage.ran_here else " "
        lines.append(f"  {stage.name:<{width}}  {_seconds_text(stage.seconds):>8}{star}{notes}".rstrip())
    if any(stage.ran_here for stage in plan.stages):
        lines.append("Seconds are those of a stage's last run here; with new work it may take longer.")
    if any(stage.seconds is not None and not stage.ran_here for stage in plan.stages):
        lines.append(f"* not yet run here: {plan.source}; another machine takes another time")
    return "\n".join(lines)


def _seconds_text(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{seconds:.0f} s"
