"""The profile `paper` by `dvc repro`: its ten rounds, template, labels and launches, with every size made small."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.project import REPOSITORY, make_project, run, write_params
from tiny import build_tiny_model

pytestmark = [pytest.mark.pipeline, pytest.mark.torch, pytest.mark.slow, pytest.mark.timeout(1500)]

SPLIT, TEST = 3, 4
PROCESSES = 2


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model: its tokenizer has no chat template, and the model says anything."""
    folder = build_tiny_model(tmp_path_factory.mktemp("base") / "model", tied=False, positions=2048)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    config.pop("chat_template", None)
    file.write_text(json.dumps(config), encoding="utf-8")
    return folder


def made_small(base: Path) -> dict[str, Any]:
    """Return the profile with sizes, engines and numbers of processes of a test, and all else as it is."""
    params = yaml.safe_load((REPOSITORY / "profiles" / "paper.yaml").read_text(encoding="utf-8"))
    params["weights"]["source"] = str(base)
    params["serving"] = {"engine": "transformers", "dtype": "fp32", "batch_size": 8, "device": "cpu"}
    params["sampling"]["max_tokens"] = 12
    params["pool"] |= {"instructions": "data/pool.jsonl", "validation": 2, "test": TEST}
    params["pool"]["splits"] = dict.fromkeys(params["pool"]["splits"], SPLIT)
    params["pool"] |= {"test_clusters": 3, "difficulty_judge": "", "difficulties": ""}  # nobody is asked
    params["pool"]["filters"] |= {"nearest": 0, "same_prefix": 0}  # too few are left
    for name, recorded in (
        ("command-r-plus", "expert"),
        ("qwen1-5-72b-chat", "plain"),
        ("openchat-3-5", "expert"),
    ):
        params["opponents"][name] = {"engine": "recorded", "model": f"data/opponents/{recorded}.jsonl"}
    params["judges"]["llama-3-70b"] = {"kind": "rubric"}
    params["train"] |= {"device": "cpu", "precision": "fp32"}
    params["train"]["launch"] = {"kind": "accelerate", "processes": PROCESSES}  # a CPU has no FSDP
    for method in ("sft", "dpo", "ppo"):
        small(params["train"][method])
    params["train"]["ppo"]["launch"]["processes"] = PROCESSES
    params["train"]["ppo"]["max_tokens"] = 8
    params["evaluate"]["bootstrap"] = 100
    for this in params["rounds"].values():
        this["threshold"] = 0.5  # so that three instructions give a row
    return params


def small(section: dict[str, Any]) -> None:
    section |= {
        "epochs": 1,
        "learning_rate": 1e-4,
        "batch_size": 2,
        "device_batch_size": 1,
        "max_length": 1500,
    }
    section["lora_rank"] = min(section["lora_rank"], 4)
    if "reward" in section:
        small(section["reward"])


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    root = tmp_path_factory.mktemp("paper")
    params = made_small(base)
    make_project(root, base, rounds=params["rounds"], splits=params["pool"]["splits"], test=TEST)
    shutil.copytree(REPOSITORY / "profiles", root / "profiles")
    shutil.copy(root / "data" / "opponents" / "expert.jsonl", root / "data" / "opponents" / "sharegpt.jsonl")
    write_params(root, params)
    run(root, "dvc", "repro", "prepare")
    # As ShareGPT's: it answers the instructions of d0, and no others.
    asked = {row["id"] for row in lines(root / "data" / "prepared" / "d0.jsonl")}
    file = root / "data" / "opponents" / "sharegpt.jsonl"
    kept = [row for row in lines(file) if row["id"] in asked]
    assert len(kept) == SPLIT
    file.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    run(root, "dvc", "repro", timeout=1400)
    return root


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_all_ten_rounds_are_trained_in_several_processes(project: Path) -> None:
    params = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
    assert len(params["rounds"]) == 10
    for name, this in params["rounds"].items():
        file = project / "data" / "rounds" / name / "train_metrics.json"
        report = json.loads(file.read_text(encoding="utf-8"))
        assert report["method"] == this["method"]
        assert report["rows"] > 0, name
        assert report["cost"]["processes"] == PROCESSES
        assert report["weight_change"]["after_saving"] > 0
        assert (project / "models" / name / "chat_template.jinja").is_file()
    assert (project / "models" / "ppo-i3" / "reward_model" / "model.safetensors").is_file()


def test_who_gives_labels_alone_fights_nobody_and_is_not_rated(project: Path) -> None:
    learnt = lines(project / "data" / "rounds" / "sft-i0" / "sft.jsonl")
    assert {row["provenance"]["winner"] for row in learnt} == {"sharegpt"}
    battles = lines(project / "data" / "rounds" / "sft-i1" / "battles.jsonl")
    fighters = {battle[side] for battle in battles for side in ("a", "b")}
    assert fighters == {"sft-i0", "command-r-plus", "qwen1-5-72b-chat", "openchat-3-5"}
    assert lines(project / "data" / "arena" / "responses" / "sharegpt.jsonl") == []
    board = json.loads((project / "reports" / "leaderboard.json").read_text(encoding="utf-8"))
    assert len(board["ratings"]) == 1 + 3 + 10
    assert "sharegpt" not in {row["model"] for row in board["ratings"]}
