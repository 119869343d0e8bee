"""What a stage notes of its time, and what it says of the time left."""

from __future__ import annotations

import json

import pytest

from arena_learning.core.paths import Paths
from arena_learning.core.stage_seconds import (
    PLAN,
    left_text,
    pace,
    read_seconds,
    read_stage_runs,
    timed_stage,
)


@pytest.fixture
def paths(tmp_path, monkeypatch):
    for name in ("DVC_ROOT", "DVC_STAGE", PLAN):
        monkeypatch.delenv(name, raising=False)
    return Paths(tmp_path)


def run(paths):
    with timed_stage(paths):
        pass


def test_a_stage_that_dvc_runs_notes_its_seconds_and_the_last_run_counts(paths, monkeypatch):
    monkeypatch.setenv("DVC_STAGE", "judge@sft-i1")
    run(paths)
    paths.stage_seconds.write_text(
        '{"stage": "judge@sft-i1", "seconds": 30.5}\n'
        '{"stage": "train@sft-i1", "seconds": 400}\n'
        '{"stage": "judge@sft-i1", "seconds": 12.0}\n'
        '{"stage": "train@sft-i1", "sec',
        encoding="utf-8",
    )
    assert read_seconds(paths) == {"judge@sft-i1": 12.0, "train@sft-i1": 400.0}
    run(paths)  # the line that a kill has cut does not take the next one with it
    assert read_seconds(paths)["judge@sft-i1"] < 12.0


def test_two_runs_are_two_lines(paths, monkeypatch):
    monkeypatch.setenv("DVC_STAGE", "answer-base")
    run(paths)
    run(paths)
    rows = [json.loads(line) for line in paths.stage_seconds.read_text(encoding="utf-8").splitlines()]
    assert [row["stage"] for row in rows] == ["answer-base", "answer-base"]
    assert all(row["seconds"] >= 0 for row in rows)


def test_by_hand_nothing_is_noted_and_a_failed_run_is_no_measure(paths, monkeypatch, capsys):
    run(paths)
    assert not paths.stage_seconds.exists()
    monkeypatch.setenv("DVC_STAGE", "answer-base")
    with pytest.raises(RuntimeError), timed_stage(paths):
        raise RuntimeError
    assert [(one.stage, one.failed) for one in read_stage_runs(paths)] == [("answer-base", True)]
    assert capsys.readouterr() == ("", "")  # without a plan a stage says what it always said
    assert read_seconds(paths) == {}


def test_a_planned_stage_says_where_it_stands_and_what_is_left(paths, monkeypatch, capsys):
    monkeypatch.setenv(PLAN, json.dumps({"weights": 60, "train@sft-i1": 390, "evaluate": 150, "track": None}))
    monkeypatch.setenv("DVC_STAGE", "train@sft-i1")
    run(paths)
    # 390 s + 150 s = 9 min
    assert capsys.readouterr().err == "stage 2 of 4; left: about 9 min, without 1 stage of unknown length\n"
    monkeypatch.setenv("DVC_STAGE", "judge@sft-i1")  # a stage outside the plan
    run(paths)
    assert capsys.readouterr().err == ""


def test_what_is_left_follows_the_pace_of_the_stages_before(paths, monkeypatch, capsys):
    monkeypatch.setenv(PLAN, json.dumps({"prepare": 10, "battle@a": 40, "train@a": 120, "track": None}))
    rows = [("battle@a", 30.0), ("prepare", 20.0), ("battle@a", 180.0), ("train@a", 500.0)]
    text = "".join(json.dumps({"stage": stage, "seconds": seconds}) + "\n" for stage, seconds in rows)
    paths.stage_seconds.parent.mkdir()
    paths.stage_seconds.write_text(text, encoding="utf-8")
    monkeypatch.setenv("DVC_STAGE", "train@a")
    run(paths)
    # (20 + 180) / (10 + 40) = 4 times 120 s; what ran later than this stage in an earlier run does not count
    said = "stage 3 of 4; left: about 8 min, without 1 stage of unknown length"
    assert capsys.readouterr().err == f"{said} (stages take 4.0 times as long as planned)\n"


def test_a_second_of_imports_is_no_pace():
    assert pace({"inputs": 1.0, "weights": None}, {"inputs": 9.0, "weights": 60.0}) == 1.0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        ([1.0, 20.0], "less than a minute"),
        ([100.0, 100.0], "about 3 min"),
        ([None, None], "unknown time"),
        ([120.0, None, None], "about 2 min, without 2 stages of unknown length"),
        ([], "less than a minute"),
    ],
)
def test_the_time_left_in_words(seconds, words):
    assert left_text({str(n): one for n, one in enumerate(seconds)}) == words
