"""How many GPUs a contestant, judge or training uses, by the parameters, for a plan."""

from __future__ import annotations

from pathlib import Path

from arena_learning.params import Params
from arena_learning.project.workload import Work


def gpus_of(work: Work, params: Params) -> float:
    """Return the GPUs that ``work`` uses while it runs, of all copies together; a fraction where copies share one."""
    if work.role == "training":
        return float(params.train.launch_of(work.name).processes) if _on_gpu(params.train.device) else 0.0
    if work.role == "judge":
        judge = params.judges[work.name]
        engine = "transformers" if judge.kind == "reward" else judge.engine
        return _served(engine, judge.vllm.tensor_parallel, judge.replicas, params)
    if work.name in params.opponents:
        one = params.opponents[work.name]
        return _served(one.engine, one.vllm.tensor_parallel, one.replicas, params)
    serving = params.serving
    return _served(serving.engine, serving.vllm.tensor_parallel, serving.replicas, params)


def _served(engine: str, tensor_parallel: int, replicas: int, params: Params) -> float:
    """Return the GPUs of an engine and its copies."""
    if engine == "vllm":
        each = float(tensor_parallel)
    elif engine == "transformers" and _on_gpu(params.serving.device):
        each = 1.0
    else:
        return 0.0
    given = params.ray.gpus
    return replicas * (each if given == "auto" or replicas == 1 else given)


def _on_gpu(device: str) -> bool:
    return device == "cuda" or (device == "auto" and _has_gpu())


def _has_gpu() -> bool:
    """Whether a GPU's device file is here; asking torch would take longer than all the rest of a plan."""
    return any(Path(device).exists() for device in ("/dev/nvidia0", "/dev/nvidiactl", "/dev/kfd"))
