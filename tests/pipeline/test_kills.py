"""What is paid, and what is kept, when runs are killed, when two run at once, and when an opponent comes late.

Every answer of one opponent and every verdict comes from an endpoint with a bill. `kill -9` is tried once in each stage
that pays or trains; benchmarks/kill_repro.py tries twenty moments.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from pipeline.kills import (
    CONCURRENCY,
    LATENCY,
    SECRET,
    VARIABLE,
    FakeEndpoint,
    answer,
    contents,
    disturbed,
    hosted_by,
    make_kill_project,
    undisturbed,
)
from pipeline.project import environment, read_params, run, write_params

pytestmark = [pytest.mark.pipeline, pytest.mark.torch, pytest.mark.slow]

STAGES = ("battle@sft-i1", "judge@sft-i1", "train@sft-i1", "answer@sft-i1", "evaluate")


class Finished(NamedTuple):
    """A run that nothing disturbed: its project, how long each stage took, what the endpoint was asked for."""

    root: Path
    took: dict[str, float]
    paid: set[str]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[FakeEndpoint]:
    with pytest.MonkeyPatch.context() as patch, FakeEndpoint(answer, latency=LATENCY) as server:
        patch.setenv(VARIABLE, SECRET)
        yield server


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, endpoint: FakeEndpoint) -> Path:
    return make_kill_project(tmp_path_factory.mktemp("start"), tiny_base, endpoint, ("sft",))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, start: Path, endpoint: FakeEndpoint) -> Finished:
    endpoint.seen.clear()
    root = tmp_path_factory.mktemp("finished") / "undisturbed"
    took = undisturbed(start, root)
    assert max(endpoint.seen.values()) == 1
    return Finished(root, took, set(endpoint.seen))


def test_killed_in_every_stage_it_ends_as_an_undisturbed_run(
    start: Path, finished: Finished, tmp_path: Path, endpoint: FakeEndpoint
) -> None:
    seed = int(time.time()) % 1000
    outcome = disturbed(start, tmp_path / "disturbed", STAGES, finished.took, endpoint, seed)
    print(seed, outcome)
    assert contents(tmp_path / "disturbed") == contents(finished.root)
    assert outcome.kills  # a stage may end before its moment comes, not all of them
    assert set(endpoint.seen) == finished.paid
    # Those in flight, and as many that have just come and are not saved yet: an answer takes longer than its saving.
    assert outcome.paid_twice <= len(outcome.kills) * 2 * CONCURRENCY


def test_the_key_is_in_no_file(finished: Finished) -> None:
    """The endpoint answers only those who have it, so it was there; logs and DVC's own files are looked at, too."""
    files = [path for path in finished.root.rglob("*") if path.is_file() and not path.is_symlink()]
    assert any(path.name == "repro.log" for path in files)
    assert any(".dvc" in path.parts for path in files)
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


def test_a_wrong_key_is_an_error_that_shows_neither(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The endpoint quotes the right key in its refusal."""
    monkeypatch.setenv(VARIABLE, "sk-planted-wrong-0123456789")
    said = run(finished.root, "arena", "--debug", "battle", "sft-i1", "--fresh", code=1)
    assert "401" in said
    assert "sk-planted" not in said
    said = run(finished.root, "arena", "battle", "sft-i1", "--fresh", code=2)
    assert "401" in said
    assert "sk-planted" not in said


def test_an_opponent_that_joins_late_pays_for_its_own_battles_only(
    finished: Finished, endpoint: FakeEndpoint, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(finished.root, tmp_path / "joined", symlinks=True))
    params = read_params(root)
    # The last round is number 0: from number 1 on it fights; the rounds before stay as they are.
    params["opponents"]["late"] = {**hosted_by(endpoint), "model": "late", "joins": 1}
    write_params(root, params)
    endpoint.seen.clear()
    said = run(root, "dvc", "repro", "leaderboard")
    ran = [line.split("'")[1] for line in said.splitlines() if line.startswith("Running stage")]
    # The battle stage reads `opponents` and looks; its answers are remembered, so nothing after it has changed.
    assert ran == ["inputs", "battle@sft-i1", "answer-opponent@late", "evaluate", "leaderboard"]
    # 6 test answers; 6 instructions x 4 others (base, expert, hosted, sft-i1) x 2 orders
    assert len(endpoint.seen) == sum(endpoint.seen.values()) == 6 + 48
    assert not set(endpoint.seen) & finished.paid
    board = json.loads((root / "reports" / "leaderboard.json").read_text(encoding="utf-8"))
    assert {r["model"] for r in board["ratings"]} == {"base", "expert", "hosted", "late", "sft-i1"}


def test_two_runs_at_once_say_so(start: Path) -> None:
    command = ["dvc", "repro", "train@sft-i1"]
    with subprocess.Popen(command, cwd=start, env=environment(), stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        while "Running stage 'train" not in first.stdout.readline():
            assert first.poll() is None
        said = run(start, *command, code=255)
        by_hand = run(start, "arena", "train", "sft-i1", code=2)
        first.stdout.read()
    assert first.returncode == 0
    assert "is busy, it is being blocked by" in said
    assert f"(PID {first.pid}):" in said
    assert "the stage 'train sft-i1' is already running" in by_hand


def test_a_dvc_lock_that_was_cut_off_goes_and_nothing_runs_again(finished: Finished, tmp_path: Path) -> None:
    root = Path(shutil.copytree(finished.root, tmp_path / "torn", symlinks=True))
    lock = root / "dvc.lock"
    text = lock.read_text(encoding="utf-8")
    lock.write_text(text[: text.rindex("hash: md5") + len("hash")], encoding="utf-8")
    run(root, "dvc", "repro", "leaderboard", code=255)
    assert "rm dvc.lock" in run(root, "arena", "doctor", code=2)
    lock.unlink()
    said = run(root, "dvc", "repro", "leaderboard")
    assert [line.split("'")[1] for line in said.splitlines() if line.startswith("Running stage")] == [
        "inputs"
    ]
    assert contents(root) == contents(finished.root)
