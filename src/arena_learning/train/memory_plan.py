"""The memory of the trainings that params.yaml asks for, as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from arena_learning.core import Paths, Table, read_yaml
from arena_learning.params import Launch, Params
from arena_learning.train.launch import strategy
from arena_learning.train.memory import GIB, MemoryNeed, Strategy, memory_of
from arena_learning.train.model_size import ModelSize, model_size

SAMPLING = ("ppo", "rloo", "grpo")  # these sample from the whole model
NAMES = {"one": "one GPU", "ddp": "DDP", "sharded": "FSDP2, ZeRO-3"}


class PlannedMemory(NamedTuple):
    """A method's need under a strategy, on each of ``gpus`` GPUs."""

    method: str
    gpus: int
    strategy: Strategy
    need: MemoryNeed

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values; GiB."""
        parts = {name: round(value / GIB, 2) for name, value in self.need._asdict().items()}
        head = {"method": self.method, "gpus": self.gpus, "strategy": self.strategy}
        return {**head, **parts, "total": round(self.need.total / GIB, 2)}


def plan_memory(
    params: Params, paths: Paths, *, model: str = "", gpus: Sequence[int] = ()
) -> list[PlannedMemory]:
    """Return the memory of each method that a round uses, on each GPU.

    Args:
        params: the parameters.
        paths: the project.
        model: folder or hub id of the model; empty: the base's folder, or where it comes from.
        gpus: numbers of GPUs to compare, under every strategy; empty: what ``launch`` says.

    Raises:
        ArenaError: the model has no configuration here, or accelerate's configuration is missing.
    """
    folder: Path | str = model or (
        paths.model("base") if paths.model("base").is_dir() else params.weights.source
    )
    size = model_size(folder, params.weights.trust_remote_code)
    methods = dict.fromkeys(params.rounds[name].method for name in params.ordered_rounds)
    return [row for method in methods for row in _of_method(method, size, params, paths, gpus)]


def _of_method(
    method: str, size: ModelSize, params: Params, paths: Paths, gpus: Sequence[int]
) -> Iterator[PlannedMemory]:
    launch = params.train.launch_of(method)
    wanted: list[tuple[int, Strategy]] = [(launch.processes, _strategy_of(launch, paths))]
    if gpus:
        kinds: tuple[Strategy, ...] = ("ddp",) if method in SAMPLING else ("ddp", "sharded")
        alone: tuple[Strategy, ...] = ("one",)
        wanted = [(number, kind) for number in gpus for kind in (alone if number == 1 else kinds)]
    for number, kind in wanted:
        need = memory_of(method, size, params.train, processes=number, strategy=kind)
        yield PlannedMemory(method, number, kind, need)


def _strategy_of(launch: Launch, paths: Paths) -> Strategy:
    if launch.processes == 1:
        return "one"
    kind = strategy(launch, paths.root)
    if kind == "DEEPSPEED":
        whole: Any = read_yaml(paths.root / launch.config)
        found = whole.get("deepspeed_config") or {}
        return "sharded" if int(found.get("zero_stage") or 0) == 3 else "ddp"
    return "sharded" if kind == "FSDP" else "ddp"


def memory_table(rows: Sequence[PlannedMemory], gpu_gib: float) -> Table:
    """Return the plan as a table of GiB, and whether a GPU of ``gpu_gib`` GiB has room."""
    parts = [name for name in MemoryNeed._fields if name != "context"]
    head = ("method", "GPUs", "strategy", *parts, "GiB each", "fits")
    cells = [
        [
            row.method,
            str(row.gpus),
            NAMES[row.strategy],
            *(f"{getattr(row.need, name) / GIB:.1f}" for name in parts),
            f"{row.need.total / GIB:.1f}",
            "yes" if row.need.total / GIB <= gpu_gib else "no",
        ]
        for row in rows
    ]
    return Table(head, cells, left=("method", "strategy"))
