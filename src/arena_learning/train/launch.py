"""Train in other processes: what they are told, what starts them, and how their errors come back.

The stage keeps its lock, writes the job to a file, starts the processes and waits. The first process writes the model
and the report into the job's folder, and the stage moves the model into place.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from arena_learning.core import (
    ArenaError,
    canonical,
    move_into_place,
    read_json,
    read_yaml,
    write_json,
    write_text,
)
from arena_learning.engines import require_ray
from arena_learning.params import Launch, Params, Ray, Train
from arena_learning.schema import Row
from arena_learning.train.report import Method, TrainReport

WORKER, ON_RAY = "arena_learning.train.worker", "arena_learning.train.ray_launch"
SPEC, REPORT, MODEL, LOCK, LAUNCHER = "spec.json", "report.json", "model", "stage.lock", "launcher.log"
FAILED = 3  # exit code of a process that has written its error
_POLL_SECONDS = 0.2
_AT_ONCE_SECONDS = 10  # torchrun waits for 30 before it kills
# One process in torchrun's report: when it ended, its rank and its exit code (minus the signal).
_FAILURE = re.compile(
    r"^ *time +: (\d{4}-\d\d-\d\d_[\d:]+)$.*?^ *rank +: (\d+).*?^ *exitcode *: (-?\d+)",
    re.DOTALL | re.MULTILINE,
)
# What accelerate calls strategies that keep a part of the weights on each device.
_SHARDED = ("FSDP", "DEEPSPEED")
_SAMPLING = ("ppo", "rloo", "grpo")


class Launched(NamedTuple):
    """A round and its project, for processes that open them by themselves."""

    round: str
    params: Params
    root: Path

    @property
    def split(self) -> Path:
        """The file of the round's instructions."""
        from arena_learning.core import Paths

        return Paths(self.root).split(self.params.rounds[self.round].split)


class TrainingSpec(Row):
    """A training's inputs, as a file for the processes that run it; see `train_round`.

    Attributes:
        method: training method.
        init: folder of the start.
        out: folder to write.
        sft: file of supervised rows.
        preferences: file of preference rows.
        train: the parameters.
        seed: seed of everything random.
        checkpoints: the round's folder of checkpoints.
        trust_remote_code: run code that comes with the model.
        round: online methods: name of the round.
        params: online methods: all parameters.
        root: online methods: the project.
        ray: where the cluster is.
    """

    method: Method
    init: str
    out: str
    sft: str
    preferences: str
    train: Train
    seed: int
    checkpoints: str
    trust_remote_code: bool = False
    round: str = ""
    params: Params | None = None
    root: str = ""
    ray: Ray = Ray()


def train_launched(spec: TrainingSpec, launch: Launch, launched: Launched | None) -> TrainReport:
    """Run a training in the processes of ``launch`` and move its model into place.

    Raises:
        ArenaError: a process failed: its own error, or the last line that it said.
    """
    folder = Path(spec.checkpoints) / "launch"
    shutil.rmtree(folder, ignore_errors=True)
    out = Path(spec.out)
    told: dict[str, Any] = {"out": str(folder / MODEL)}
    if launched is not None:
        told |= {"ray": launched.params.ray}
    if launched is not None and spec.method in ("rloo", "grpo"):
        told |= {"round": launched.round, "params": launched.params, "root": str(launched.root)}
    write_text(folder / SPEC, canonical(spec.model_copy(update=told).model_dump(mode="json")) + "\n")
    command = _command(spec, launch, launched.root if launched else Path.cwd(), folder)
    with _held(folder / LOCK):
        code = _run(command, folder)
    if code or not (folder / REPORT).is_file():
        raise _error(folder, launch, code)
    move_into_place(folder / MODEL, out)
    return TrainReport.model_validate(read_json(folder / REPORT))


def strategy(launch: Launch, root: Path) -> str:
    """Return what accelerate's configuration asks for, such as ``MULTI_GPU`` (DDP), ``FSDP`` or ``DEEPSPEED``.

    Raises:
        ArenaError: the file is missing or is none of accelerate's, or it asks for several machines.
    """
    if not launch.config:
        return "MULTI_GPU"
    path, where = root / launch.config, f"params.yaml, launch.config: {launch.config}"
    if not path.is_file():
        raise ArenaError("no such file", where=where, hint="write one with `accelerate config --config_file`")
    found = read_yaml(path)
    if not isinstance(found, dict) or "distributed_type" not in found:
        raise ArenaError(
            "this is no configuration of accelerate: it has no distributed_type",
            where=where,
            hint="write one with `accelerate config --config_file`",
        )
    if str(found.get("num_machines") or 1) != "1":
        raise ArenaError(
            f"num_machines is {found['num_machines']}, and accelerate trains on one machine here",
            where=where,
            hint="set it to 1; for several machines, set launch.kind to ray",
        )
    return str(found["distributed_type"])


def _command(spec: TrainingSpec, launch: Launch, root: Path, folder: Path) -> list[str]:
    kind = strategy(launch, root)
    if kind in _SHARDED and spec.method in _SAMPLING:
        raise ArenaError(
            f"{spec.method} samples from the whole model, which {kind} keeps in parts",
            where=f"train.{spec.method}.launch.config",
            hint="leave config empty (DDP), and save memory by lora_rank or weights: bf16",
        )
    if launch.kind == "ray":
        require_ray(f"train.{spec.method}.launch.kind", "set it to accelerate")
        return [
            sys.executable,
            "-m",
            ON_RAY,
            str(folder / SPEC),
            *([str(root / launch.config)] * bool(launch.config)),
        ]
    config = root / launch.config
    if not launch.config:
        config = folder / "accelerate.yaml"
        machine = {
            "compute_environment": "LOCAL_MACHINE",
            "num_machines": 1,
            "machine_rank": 0,
            "debug": False,
        }
        # accelerate's word for DDP, on a CPU too.
        own = {"distributed_type": kind, "mixed_precision": "no", "num_processes": launch.processes}
        write_json(config, machine | own)  # JSON is YAML
    start = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config)]
    start += ["--num_processes", str(launch.processes), "--main_process_port", "0"]
    return [*start, "-m", WORKER, str(folder / SPEC)]


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Hold a lock that tells the processes that the stage is alive: the system releases it when the stage dies."""
    from filelock import FileLock

    with FileLock(path):
        yield


def _run(command: list[str], folder: Path) -> int:
    """Run a launcher, show what the first process says, and end all processes when this one is interrupted."""
    shown = folder / log_name(0)
    shown.touch()
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    with (folder / LAUNCHER).open("wb") as log, shown.open(encoding="utf-8", errors="replace") as said:
        running = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
        try:
            while running.poll() is None:
                sys.stderr.write(said.read())
                sys.stderr.flush()
                time.sleep(_POLL_SECONDS)
        finally:
            if running.poll() is None:
                os.killpg(running.pid, signal.SIGKILL)
                running.wait()
        if not running.returncode:
            sys.stderr.write(said.read())
    return running.returncode


def log_name(rank: int | str) -> str:
    """Return the name of the file of what a process says."""
    return f"process-{rank}.log"


def error_name(rank: int | str) -> str:
    """Return the name of the file of a process's error."""
    return f"error-{rank}.json"


def _error(folder: Path, launch: Launch, code: int) -> ArenaError:
    """Return the error of the process that failed first; the others fail because it no longer answers."""
    told = [(path, read_json(path)) for path in folder.glob(error_name("*"))]
    told.sort(key=lambda one: (not one[1]["known"], not one[1].get("died"), one[1]["time"]))
    if told and told[0][1]["known"]:
        known = told[0][1]
        return ArenaError(known["what"], where=known["where"], hint=known["hint"])
    report = (folder / LAUNCHER).read_text(encoding="utf-8", errors="replace")
    killed = None if launch.kind == "ray" else _killed(report)
    again = "run the stage again: it goes on from the last checkpoint"
    if killed:
        rank, number = killed
        hint = f"{again} (signal 9 often means that memory ran out)" if number == 9 else again
        return ArenaError(
            f"process {rank} of {launch.processes} ended by signal {number}",
            where=str(folder / log_name(rank)),
            hint=hint,
        )
    if told:
        path, first = told[0]
        who = path.stem.removeprefix(error_name("*").partition("*")[0])
        what = f"process {who} of {launch.processes} failed: {first['what']}"
        return ArenaError(what, where=str(folder / log_name(who)), hint=f"read the file; then {again}")
    lines = [line.strip() for line in report.splitlines() if line.strip()]
    last = lines[-1] if lines else "it said nothing"
    return ArenaError(
        f"the launcher ended with exit code {code}: {last}", where=str(folder / LAUNCHER), hint=again
    )


def _killed(report: str) -> tuple[int, int] | None:
    """Return rank and signal of the process that a signal ended first, if any, by torchrun's report.

    The others fail because that one no longer answers, and torchrun may see them first; it ends who is left by
    signal 15, and half a minute later by 9.
    """
    found = [
        (datetime.fromisoformat(when), int(rank), int(code)) for when, rank, code in _FAILURE.findall(report)
    ]
    if not found:
        return None
    soon = min(found)[0] + timedelta(seconds=_AT_ONCE_SECONDS)
    ended = [(when, rank, -code) for when, rank, code in found if code < 0 and code != -signal.SIGTERM]
    ended = [one for one in ended if one[0] <= soon]
    if not ended:
        return None
    _, rank, number = min(ended, key=lambda one: (one[2] != signal.SIGKILL, one[0]))
    return rank, number
