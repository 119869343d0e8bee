"""A round by a judge's word, by `dvc repro`: after an SFT round, from its model, with a second judge beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.project import make_project, read_params, run, write_params
from sample import one_iteration
from tiny import build_tiny_model

pytestmark = [pytest.mark.pipeline, pytest.mark.torch, pytest.mark.slow]

SETTINGS = {
    "judge": "longer",
    "monitor": "rubric",
    "reward": "win_rate",
    "against": "both",
    "epochs": 2,
    "learning_rate": 1.0e-3,
    "batch_size": 2,
    "device_batch_size": 4,
    "group": 2,
    "max_length": 512,
    "max_tokens": 8,
}


@pytest.fixture(scope="module")
def rewarded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, other = tmp_path_factory.mktemp("rewards"), tmp_path_factory.mktemp("talker")
    talker = build_tiny_model(other / "talker", tied=False)  # its answers differ
    rounds = {"sft-i1": one_iteration(sft=0.5)["sft-i1"]}
    rounds["rloo-i1"] = {**rounds["sft-i1"], "index": 1, "method": "rloo", "split": "d2"}
    rounds["rloo-i1"] |= {"target": "sft-i1", "init": "sft-i1"}
    make_project(root, talker, rounds=rounds, splits={"d1": 3, "d2": 3}, test=2)
    params = read_params(root)
    params["train"]["rloo"] = dict(SETTINGS)
    params["judges"]["longer"] = {"kind": "longer"}
    write_params(root, params)
    run(root, "dvc", "repro", timeout=560)
    return root


def metrics(root: Path) -> dict:
    return json.loads(
        (root / "data" / "rounds" / "rloo-i1" / "train_metrics.json").read_text(encoding="utf-8")
    )


def test_the_round_trains_on_its_split_and_is_rated(rewarded: Path) -> None:
    report = metrics(rewarded)
    (phase,) = report["phases"]
    assert phase["name"] == report["method"] == "rloo"
    split = (rewarded / "data" / "prepared" / "d2.jsonl").read_text(encoding="utf-8")
    assert phase["rows"]["given"] == len(split.splitlines()) == 3
    assert 0 < report["rows"] <= 3
    assert report["weight_change"]["after_saving"] > 0
    assert phase["figures"]["sampled"] == 2 * phase["steps"] * min(2, report["rows"])
    assert all(0 <= point["reward"] <= 1 for point in phase["curve"])
    assert all(1 <= point["monitor"] <= 10 for point in phase["curve"])
    assert report["cost"]["judged"] > 0
    models = [
        (rewarded / "models" / name / "model.safetensors").read_bytes() for name in ("sft-i1", "rloo-i1")
    ]
    assert models[0] != models[1]
    board = json.loads((rewarded / "reports" / "leaderboard.json").read_text(encoding="utf-8"))
    assert {"sft-i1", "rloo-i1"} <= {row["model"] for row in board["ratings"]}
    monitors = {one["model"]: one for one in board["monitors"]}
    assert monitors["rloo-i1"]["monitor_change"] is not None
    assert monitors["sft-i1"]["monitor_change"] is None
    for name in ("sft", "preferences"):
        assert (rewarded / "data" / "rounds" / "rloo-i1" / f"{name}.jsonl").read_bytes() == b""


def test_a_judge_that_is_asked_otherwise_trains_this_round_again_and_no_other(
    rewarded: Path,
) -> None:
    def stale() -> set[str]:
        run(rewarded, "arena", "inputs")
        found = json.loads(run(rewarded, "dvc", "status", "--json", "train"))
        return set(found)

    assert stale() == set()
    params = read_params(rewarded)
    params["judges"]["reference"]["tie_margin"] = 0.5  # judges nothing of these rounds
    write_params(rewarded, params)
    assert stale() == set()
    params["judges"]["longer"]["tie_margin"] = 0.5
    write_params(rewarded, params)
    assert stale() == {"train@rloo-i1"}


def test_a_rerun_asks_no_judge_again_and_gives_the_same_model(rewarded: Path) -> None:
    before, model = metrics(rewarded), rewarded / "models" / "rloo-i1" / "model.safetensors"
    weights = model.read_bytes()
    run(rewarded, "arena", "train", "rloo-i1")
    after = metrics(rewarded)
    assert after["cost"].pop("judged") == 0
    before.pop("cost"), after.pop("cost")
    assert after == before
    assert model.read_bytes() == weights
