"""A project whose files are there, without a model that could be loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from arena_learning.core.json_files import write_text
from arena_learning.core.paths import Paths
from arena_learning.params import load_params
from sample import one_iteration

STAGES = ("battle", "judge", "dataset", "train", "answer")
PIPELINE = Path(__file__).parents[3] / "dvc.yaml"


def fill(paths: Paths, name: str) -> None:
    """Write what a round leaves, 100 bytes a file."""
    for path in (
        paths.responses(name),
        paths.battles(name),
        paths.model(name) / "model.safetensors",
        paths.model(name) / "config.json",
        paths.model(name) / "reward_model" / "model.safetensors",
        paths.arena_responses(name),
        paths.checkpoints(name) / "sft" / "checkpoint-4" / "optimizer.pt",
    ):
        write_text(path, "x" * 100)


def locked(name: str) -> dict[str, dict[str, object]]:
    """Return the lock entries of a round, as DVC writes them."""
    outs = {
        "battle": f"data/rounds/{name}/responses.jsonl",
        "judge": f"data/rounds/{name}/battles.jsonl",
        "dataset": f"data/rounds/{name}/sft.jsonl",
        "train": f"models/{name}",
        "answer": f"data/arena/responses/{name}.jsonl",
    }
    return {
        f"{stage}@{name}": {"cmd": f"arena {stage} {name}", "outs": [{"path": outs[stage], "md5": "0" * 32}]}
        for stage in STAGES
    }


@pytest.fixture
def project(tmp_path, make_params, monkeypatch):
    """One iteration that has run: params, paths; the current folder is the project."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    paths = Paths(tmp_path)
    raw = make_params(rounds=one_iteration(), pool={"splits": {"d1": 4, "d2": 4, "d3": 4}, "test": 4})
    write_text(paths.params, yaml.safe_dump(raw, sort_keys=False))
    write_text(paths.pipeline, PIPELINE.read_text(encoding="utf-8"))
    lock = {"prepare": {"cmd": "arena prepare", "outs": [{"path": "data/prepared/d1.jsonl"}]}}
    for name in ("base", "none", *one_iteration()):
        fill(paths, name)
    for name in one_iteration():
        lock |= locked(name)
    write_text(paths.lockfile, yaml.safe_dump({"schema": "2.0", "stages": lock}, sort_keys=False))
    return load_params(paths.params), paths
