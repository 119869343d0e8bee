"""`kill -9` of `dvc repro` in every stage that pays or trains; benchmarks/kill_repro.py tries twenty moments and more."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.kills import (
    CONCURRENCY,
    LATENCY,
    FakeEndpoint,
    answer,
    contents,
    disturbed,
    make_kill_project,
    undisturbed,
)
from pipeline.project import environment, run

pytestmark = [pytest.mark.pipeline, pytest.mark.torch, pytest.mark.slow]

STAGES = ("battle@sft-i1", "judge@sft-i1", "train@sft-i1", "answer@sft-i1", "evaluate")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[FakeEndpoint]:
    with FakeEndpoint(answer, latency=LATENCY) as server:
        yield server


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, endpoint: FakeEndpoint) -> Path:
    return make_kill_project(tmp_path_factory.mktemp("start"), tiny_base, endpoint, ("sft",))


def test_killed_in_every_stage_it_ends_as_an_undisturbed_run(
    start: Path, tmp_path: Path, endpoint: FakeEndpoint
) -> None:
    endpoint.seen.clear()
    took = undisturbed(start, tmp_path / "undisturbed")
    paid = set(endpoint.seen)
    wanted = contents(tmp_path / "undisturbed")
    outcome = disturbed(start, tmp_path / "disturbed", STAGES, took, endpoint, seed=int(time.time()) % 1000)
    print(outcome)
    assert contents(tmp_path / "disturbed") == wanted
    assert outcome.kills  # a stage may end before its moment comes, not all of them
    assert set(endpoint.seen) == paid
    assert outcome.paid_twice <= len(outcome.kills) * CONCURRENCY


def test_two_runs_at_once_say_so(start: Path) -> None:
    first = subprocess.Popen(
        ["dvc", "repro", "train@sft-i1"], cwd=start, env=environment(), stdout=subprocess.PIPE, text=True
    )
    assert first.stdout is not None
    while "Running stage 'train" not in first.stdout.readline():
        assert first.poll() is None
    said = run(start, "dvc", "repro", "train@sft-i1", code=255)
    assert "is busy, it is being blocked by" in said
    assert f"(PID {first.pid}): dvc repro train@sft-i1" in said
    by_hand = run(start, "arena", "train", "sft-i1", code=2)
    assert "the stage 'train sft-i1' is running already" in by_hand
    first.stdout.read()
    assert first.wait() == 0
