"""`arena repro`: DVC with a plan before it; its exit code, its arguments and its Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from arena_learning.core.paths import Paths
from arena_learning.core.stage_seconds import read_seconds
from pipeline.project import (
    environment,
    interruptible,
    make_project,
    read_params,
    run,
    run_json,
    write_params,
)
from sample import one_iteration

pytestmark = pytest.mark.pipeline

STAGES = """stages:
  prepare: {cmd: arena prepare, deps: [data/pool.jsonl], outs: [data/prepared/test.jsonl]}
  count: {cmd: wc -l data/prepared/test.jsonl > count.txt, deps: [data/prepared/test.jsonl], outs: [count.txt]}
  fails: {cmd: exit 3, deps: [count.txt], frozen: true}
  waits: {cmd: exec python waits.py, always_changed: true, frozen: true}
"""
# One process: a shell goes on where Ctrl-C meets it beside a command of its own that ends by itself.
WAITS = "import pathlib, time; pathlib.Path('started').touch(); time.sleep(100)"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with four quick stages; it needs no model."""
    root = tmp_path_factory.mktemp("repro")
    make_project(root, root / "no-model", rounds=one_iteration(), splits={f"d{n}": 3 for n in (1, 2, 3)})
    (root / "waits.py").write_text(WAITS, encoding="utf-8")
    (root / "dvc.yaml").write_text(STAGES.replace(", frozen: true", ""), encoding="utf-8")
    return root


def test_the_plan_stands_before_the_run_and_the_next_one_knows_its_seconds(root: Path) -> None:
    plan = run(root, "arena", "repro", "--dry", "count")
    assert "2 stages to run: unknown time\n  prepare  unknown" in plan.replace("   unknown", "  unknown")
    assert not (root / "count.txt").exists()
    output = run(root, "arena", "repro", "count")
    assert "stage 1 of 2; left: unknown time" in output
    assert (root / "count.txt").read_text(encoding="utf-8").startswith("6 ")  # `make_project` holds out 6
    assert read_seconds(Paths(root)).keys() == {
        "prepare"
    }  # a command that is not this project's notes nothing
    assert "2 stages to run: less than a minute, without 1 stage of unknown length" in run(
        root, "arena", "repro", "--dry", "--force", "count"
    )
    assert "no stage to run" in run(root, "arena", "repro", "--dry", "count")


def test_a_run_is_held_against_the_plan_that_it_began_with(root: Path) -> None:
    run(root, "arena", "repro", "--force", "count")
    held = run_json(root, "arena", "plan", "--against-run", "--json")["against_run"]
    stages = {stage["stage"]: stage for stage in held["stages"]}
    assert list(stages) == ["prepare", "count"]
    assert (stages["prepare"]["ran"], stages["count"]["ran"]) == (
        True,
        False,
    )  # only our commands note their time
    assert stages["prepare"]["planned"]["seconds"] is not None  # that of the run before
    assert stages["prepare"]["taken"]["seconds"] > 0
    assert "together, what ran" in run(root, "arena", "plan", "--against-run")


def test_a_plan_counts_what_lies_ahead_and_the_ledger_what_was_spent(root: Path) -> None:
    told = run_json(root, "arena", "plan", "--work", "--anew", "--json")["work"]
    assert told["total"]["stages"] >= 4
    text = run(root, "arena", "plan", "sft-i1")
    assert "together" in text
    assert run_json(root, "arena", "show", "ledger", "--json")["rows"] == []


def test_the_hours_of_a_run_end_it_before_its_next_stage(root: Path) -> None:
    params = read_params(root)
    write_params(root, params | {"budget": {"hours": 1e-6}})
    try:
        said = run(root, "arena", "repro", "--force", "prepare", code=255)
    finally:
        write_params(root, params)
    assert "used up its 1e-06 hours; missing: the stage 'prepare' and what follows it" in said
    assert "raise budget.hours" in said


def test_by_hand_a_stage_says_nothing_of_a_plan(root: Path) -> None:
    assert "; left: " not in run(root, "dvc", "repro", "--force", "prepare")


def test_the_exit_code_and_the_errors_are_dvcs(root: Path) -> None:
    by_hand = run(root, "dvc", "repro", "fails", code=255)
    assert "failed to reproduce 'fails'" in by_hand
    assert "failed to reproduce 'fails'" in run(root, "arena", "repro", "fails", code=255)
    assert "nothing-like-it" in run(root, "arena", "repro", "nothing-like-it", code=255)


def group_is_gone(group: int, seconds: float = 10) -> bool:
    """Whether no process of the group is left; one that has ended is until its parent, or init, has seen it."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_a_ctrl_c_ends_the_stage_and_leaves_the_project_usable(root: Path) -> None:
    run(root, "arena", "repro", "count")
    started = root / "started"
    process = subprocess.Popen(
        ["arena", "repro", "waits"],
        cwd=root,
        env=environment(),
        start_new_session=True,  # a process group of its own, as a terminal makes one
        preexec_fn=interruptible,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 240
        while not started.exists() and time.monotonic() < until:
            time.sleep(0.1)
        assert started.exists()
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=90) != 0  # before the 100 s of the stage are over
        assert group_is_gone(process.pid)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert "no stage to run" in run(root, "arena", "repro", "--dry", "count")
