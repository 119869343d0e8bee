"""Start a training's processes on a Ray cluster, on one machine or several, by Ray Train.

    python -m arena_learning.train.ray_launch SPEC [CONFIG]

SPEC is the file that `launch.py` writes, CONFIG a configuration of accelerate. Ray gets the paths of files, what
accelerate is configured to and when the run must stop, never the job itself: its processes read the file, so all
machines share a file system.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from arena_learning.core import STOP_AT, ArenaError, first_line, read_json, write_json
from arena_learning.engines import join_ray
from arena_learning.train.launch import FAILED, LAUNCHER, LOCK, TrainingSpec, error_name, log_name
from arena_learning.train.worker import end_with_stage, work, write_error

PACKAGES = ("arena-learning", "torch", "transformers", "trl", "peft", "accelerate")
_PATIENCE = 15.0  # seconds after which a shared file system shows a new file
_TOLD = ("ACCELERATE_", "FSDP_")  # names of what `accelerate launch` tells its processes


class Machine(NamedTuple):
    """What a machine has.

    Attributes:
        machine: its name.
        file: SHA-256 of the job's file; empty: it is not there.
        versions: of Python and of the packages that train.
    """

    machine: str
    file: str
    versions: dict[str, str]


class Order(NamedTuple):
    """What a process on Ray is told.

    Attributes:
        spec: path of the job's file.
        folder: the working directory.
        environment: what accelerate is configured to, and when the run must stop.
    """

    spec: str
    folder: str
    environment: dict[str, str]


def main() -> None:
    """Train by the file on the command line, and end with an error code if a process failed."""
    spec, config = Path(sys.argv[1]), sys.argv[2:]
    end_with_stage(spec.parent / LOCK)
    try:
        whole = _start(spec, Path(config[0]) if config else None)
    except ArenaError as error:
        write_error(spec.parent / error_name("launcher"), error)
        whole = False
    sys.exit(0 if whole else FAILED)


def _start(path: Path, config: Path | None) -> bool:
    """Run the processes; return whether all of them have ended well."""
    spec = TrainingSpec.model_validate(read_json(path))
    number = spec.train.launch_of(spec.method).processes
    join_ray(spec.ray, max(number, os.cpu_count() or 1))
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    gpus = _on_gpus(spec)
    machines = check_machines(look(str(path)), _look_everywhere(path, "GPU" if gpus else "CPU"))
    order = Order(str(path), str(Path.cwd()), told_environment(config, number))
    trainer = TorchTrainer(
        train_on_ray,
        train_loop_config=order._asdict(),
        # Sharded checkpoints are gathered on the CPU.
        torch_config=TorchConfig(backend="cuda:nccl,cpu:gloo" if gpus else "gloo"),
        scaling_config=ScalingConfig(num_workers=number, use_gpu=gpus),
        run_config=RunConfig(
            name="train", storage_path=str(path.parent / "ray"), failure_config=FailureConfig(max_failures=0)
        ),
    )
    with (path.parent / log_name(0)).open("a", encoding="utf-8") as shown:
        print(f"ray: {number} processes on {machines} machines at most", file=shown)
    try:
        trainer.fit()
    except TrainingFailedError as error:
        failures = getattr(error, "worker_failures", {})
        for rank in failures:
            _note_death(path.parent, rank)
        if not failures:
            raise ArenaError(
                f"Ray Train failed: {first_line(error)}", where=str(path.parent / LAUNCHER)
            ) from error
        return False
    return True


def train_on_ray(told: dict[str, Any]) -> None:
    """Run one process of a training; what Ray calls in each.

    Raises:
        RuntimeError: it failed; its error is in a file, and Ray ends the others.
    """
    order = Order(**told)
    os.chdir(order.folder)
    os.environ.update(order.environment)
    if code := work(Path(order.spec)):
        raise RuntimeError(f"the process ended with code {code}")


def _note_death(folder: Path, rank: int) -> None:
    """Write the error of a process that could not write it itself."""
    path = folder / error_name(rank)
    if not path.exists():
        what = "it died, or its machine did; often memory ran out"
        write_json(path, {"time": time.time(), "known": False, "died": True, "what": what})


def _on_gpus(spec: TrainingSpec) -> bool:
    """Whether the processes train on the cluster's GPUs.

    Raises:
        ArenaError: the cluster has too few.
    """
    import ray

    there, number = ray.cluster_resources(), spec.train.launch_of(spec.method).processes
    gpus = spec.train.device == "cuda" or (spec.train.device == "auto" and there.get("GPU", 0) > 0)
    kind = "GPU" if gpus else "CPU"
    if there.get(kind, 0) < number:
        raise ArenaError(
            f"{number} processes need {number} {kind}s, and the cluster has {there.get(kind, 0):g}",
            where=f"train.{spec.method}.launch.processes",
            hint="lower it, or let more machines join the cluster (`ray start --address=...`)",
        )
    return gpus


def _look_everywhere(path: Path, kind: str) -> list[Machine]:
    """Return what each machine has that may train, by its CPUs or GPUs.

    Raises:
        ArenaError: a machine cannot be asked.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get(kind, 0) > 0]
    remote = ray.remote(look)
    asked = [
        remote.options(
            num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(str(path))
        for node in nodes
    ]
    found = []
    for node, task in zip(nodes, asked, strict=True):
        try:
            found.append(ray.get(task))
        except ray.exceptions.RayError as error:
            raise ArenaError(
                f"the machine {node['NodeManagerHostname']} cannot train: {first_line(error)}",
                where="train.launch",
                hint="install this package there, with the same versions of Python and of all packages",
            ) from error
    return found


def look(path: str) -> Machine:
    """Return what this machine has; waits for a file that a shared file system does not show yet."""
    until = time.monotonic() + _PATIENCE
    while not Path(path).is_file() and time.monotonic() < until:
        time.sleep(0.5)
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest() if Path(path).is_file() else ""
    versions = {"Python": platform.python_version()} | {name: version(name) for name in PACKAGES}
    return Machine(platform.node(), digest, versions)


def check_machines(here: Machine, others: list[Machine]) -> int:
    """Check that machines share this one's files and versions; return their number.

    Raises:
        ArenaError: one does not.
    """
    for one in others:
        if one.file != here.file:
            raise ArenaError(
                f"the machine {one.machine} does not have this project's files",
                where="train.launch",
                hint="trainings on several machines need a file system that all of them share: put the project there, "
                "at the same path on each",
            )
        other = [name for name, number in here.versions.items() if one.versions.get(name) != number]
        if other:
            name = other[0]
            raise ArenaError(
                f"the machine {one.machine} has {name} {one.versions.get(name)}, and {here.machine} has "
                f"{here.versions[name]}",
                where="train.launch",
                hint="install the same versions on all machines",
            )
    return len({one.machine for one in others})


def told_environment(config: Path | None, processes: int) -> dict[str, str]:
    """Return the environment variables that each process gets; a cluster's processes inherit none from here."""
    found = accelerate_environment(config, processes) if config else {}
    if STOP_AT in os.environ:
        found[STOP_AT] = os.environ[STOP_AT]
    return found


def accelerate_environment(config: Path, processes: int) -> dict[str, str]:
    """Return what `accelerate launch` tells the processes of a configuration, which Ray starts here.

    accelerate has no public function for it; these are the steps of its command.
    """
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

    line = ["--config_file", str(config), "--num_processes", str(processes), "--main_process_port", "0"]
    given, defaults, _ = _validate_launch_command(launch_command_parser().parse_args([*line, "none.py"]))
    if given.use_deepspeed:
        given.deepspeed_fields_from_accelerate_config = ",".join(defaults.deepspeed_config)
        _, found = prepare_deepspeed_cmd_env(given)
    else:
        found = prepare_multi_gpu_env(given)
    return {name: value for name, value in found.items() if name.startswith(_TOLD)}


if __name__ == "__main__":
    main()
