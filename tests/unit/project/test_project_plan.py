"""The plan of a run: which stages, how long, and where the figures are from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from arena_learning.core.json_files import write_json, write_text
from arena_learning.core.paths import Paths
from arena_learning.params import load_params
from arena_learning.project.dvc_stages import stage_names
from arena_learning.project.plan import (
    PlannedStage,
    RunPlan,
    _with_dependents,
    plan_text,
    profile_seconds,
)

REPOSITORY = Path(__file__).parents[3]
LOCK = {
    "inputs": {"outs": [{"path": "data/inputs/opponents"}]},
    "battle@a": {"deps": [{"path": "data/inputs/opponents"}], "outs": [{"path": "data/rounds/a/r.jsonl"}]},
    "train@a": {"deps": [{"path": "data/rounds/a/r.jsonl"}], "outs": [{"path": "models/a"}]},
    "train@ab": {"deps": [{"path": "models/none"}], "outs": [{"path": "models/ab"}]},
    "answer@a": {"deps": [{"path": "models/a"}], "outs": [{"path": "data/arena/responses/a.jsonl"}]},
    "answer@ab": {"deps": [{"path": "models/ab"}], "outs": [{"path": "data/arena/responses/ab.jsonl"}]},
    "evaluate": {"deps": [{"path": "data/arena/responses"}], "outs": [{"path": "data/arena/games.jsonl"}]},
}


def test_what_reads_the_output_of_a_planned_stage_is_planned_too():
    seen = {name: name in ("inputs", "train@a") for name in LOCK}
    # models/ab begins like models/a and is another folder; evaluate reads the folder that answer@a writes to
    assert _with_dependents(seen, LOCK) == ["inputs", "train@a", "answer@a", "evaluate"]
    assert _with_dependents({name: name == "inputs" for name in LOCK}, LOCK) == ["inputs"]


def test_stages_that_have_never_run_are_planned_without_a_lock():
    assert _with_dependents({"prepare": True, "weights": False, "battle@a": True}, {}) == [
        "prepare",
        "battle@a",
    ]


def test_the_plan_in_words():
    plan = RunPlan(
        (
            PlannedStage("prepare", True, 14.0, True),
            PlannedStage("train@sft-i1", True, 392, False),
            PlannedStage("track", False, None, False),
        ),
        "profile laptop on 2 cores",
    )
    # 14 s + 392 s = 6.8 min
    assert plan_text(plan).splitlines() == [
        "2 stages to run, and 1 more if what they read changes. "
        "Together: about 7 min, without 1 stage of unknown length",
        "  prepare           14 s",
        "  train@sft-i1     392 s*",
        "  track          unknown   if what it reads changes",
        "Seconds are those of a stage's last run here; with new work it may take longer.",
        "* not yet run here: profile laptop on 2 cores; another machine takes another time",
    ]
    assert plan_text(RunPlan((), "")) == "no stage to run"
    alone = plan_text(RunPlan((PlannedStage("inputs", True, None, False),), ""))
    assert alone.splitlines() == ["1 stage to run: unknown time", "  inputs   unknown"]


@pytest.fixture
def shipped(tmp_path):
    """A clone's parameters, profiles and pipeline."""
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(REPOSITORY / name, tmp_path / name)
    shutil.copytree(REPOSITORY / "profiles", tmp_path / "profiles")
    return Paths(tmp_path)


def test_a_fresh_clone_knows_every_stage_from_its_profile(shipped):
    seconds, source = profile_seconds(load_params(shipped.params), shipped)
    assert seconds.keys() == stage_names(shipped)
    assert source.startswith("profile laptop on 2 cores")


def test_changed_parameters_have_no_figures_of_a_profile_but_another_engine_has(shipped):
    raw = yaml.safe_load(shipped.params.read_text(encoding="utf-8"))
    raw["serving"]["batch_size"] = 2
    write_text(shipped.params, yaml.safe_dump(raw))
    assert profile_seconds(load_params(shipped.params), shipped)[0]
    raw |= {"budget": {"hours": 3}, "prices": {"m": {"input": 1, "output": 2}}}
    write_text(shipped.params, yaml.safe_dump(raw))
    assert profile_seconds(load_params(shipped.params), shipped)[0]
    raw["sampling"]["max_tokens"] *= 2
    write_text(shipped.params, yaml.safe_dump(raw))
    assert profile_seconds(load_params(shipped.params), shipped) == ({}, "")


def test_a_project_without_the_table_has_no_figures(shipped):
    (shipped.profiles / "seconds.json").unlink()
    assert profile_seconds(load_params(shipped.params), shipped) == ({}, "")
    write_json(shipped.profiles / "seconds.json", {"gone": {"measured": "x", "stages": {}}})
    assert profile_seconds(load_params(shipped.params), shipped) == ({}, "")


def test_the_shipped_table_names_profiles_and_where_it_was_measured():
    table = json.loads((REPOSITORY / "profiles" / "seconds.json").read_text(encoding="utf-8"))
    for name, entry in table.items():
        assert (REPOSITORY / "profiles" / f"{name}.yaml").is_file()
        assert entry["measured"]
        assert all(seconds > 0 for seconds in entry["stages"].values())
