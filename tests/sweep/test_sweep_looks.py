"""Looks at a confirmation half: counted by what is in it, over studies and calls, and p corrected for them."""

from __future__ import annotations

import json

import pytest

from arena_learning.core.errors import ArenaError
from arena_learning.core.json_files import read_json, write_text
from arena_learning.sweep.judge.run import judge_table, sweep_judge
from arena_learning.sweep.mlflow_runs import study_runs
from arena_learning.sweep.selection.run import selection_table as selection_table
from arena_learning.sweep.selection.run import sweep_selection

MARGIN = "judges.longer.tie_margin"
ONE = 2 / 2**4  # p of four pairs better and none worse, in one look


@pytest.fixture
def sweep(files, tmp_path, write_pairs):
    params, paths = files
    file = write_pairs(tmp_path / "pairs.jsonl")

    def run(space, **options):
        options = {"trials": 8, "file": file, **options}
        return sweep_judge("longer", params, paths, space={MARGIN: space}, **options)

    run.paths, run.file = paths, file
    return run


def test_another_study_on_the_same_half_is_a_further_look(sweep):
    first, second, third = sweep([0.0, 0.5]), sweep([0.0, 0.5, 1.0]), sweep([0.0, 0.5, 8.0])
    assert [r["looks"] for r in (first, second, third)] == [1, 2, 3]
    assert [r["against_current"]["p"] for r in (first, second, third)] == [ONE, 2 * ONE, 3 * ONE]
    assert third["against_current"]["p_of_one_look"] == ONE
    assert "first look of a sweep" in judge_table(first)
    assert "look 3 of sweeps at this half or a part of it: p is multiplied by 3" in judge_table(third)


def test_p_is_1_at_most(sweep):
    sweep([0.0, 0.5])
    write_text(sweep.paths.sweep_looks, sweep.paths.sweep_looks.read_text() * 8)
    report = sweep([0.0, 0.5, 1.0])
    assert report["looks"] == 9
    assert report["against_current"]["p"] == 1.0


def test_another_call_that_confirms_again_is_a_further_look(sweep):
    assert sweep([0.0, 0.5, 1.0], trials=2)["looks"] == 1
    assert sweep([0.0, 0.5, 1.0], trials=3)["looks"] == 2


def test_a_call_that_finds_nothing_new_reads_the_report_and_looks_at_nothing(sweep, capsys):
    first = sweep([0.0, 0.5])
    capsys.readouterr()
    assert sweep([0.0, 0.5]) == first
    assert "without another look at the half" in capsys.readouterr().err
    assert len(sweep.paths.sweep_looks.read_text().splitlines()) == 1


def test_without_the_report_the_half_is_looked_at_again(sweep):
    first = sweep([0.0, 0.5])
    sweep.paths.sweep_report(first["study"]).unlink()
    assert sweep([0.0, 0.5])["looks"] == 2


@pytest.mark.parametrize("how", ["renamed", "turned", "grown", "other ids", "swapped"])
def test_the_half_is_known_by_its_texts(sweep, tmp_path, write_pairs, how):
    """The same pairs in another file, order or under other ids, or with a few more, are no fresh half."""
    sweep([0.0, 0.5])
    rows = [json.loads(line) for line in sweep.file.read_text().splitlines()]
    if how == "turned":
        rows.reverse()
    if how == "other ids":
        rows = [{**row, "id": f"x-{row['id']}"} for row in rows]
    if how == "swapped":
        other = {"model_a": "model_b", "model_b": "model_a", "tie": "tie"}
        answers = [{"response_a": row["response_b"], "response_b": row["response_a"]} for row in rows]
        rows = [{**row, **two, "label": other[row["label"]]} for row, two in zip(rows, answers, strict=True)]
    if how == "grown":
        rows += [{**rows[0], "id": "new", "instruction": "A new question?"}]
    file = tmp_path / "same.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert sweep([0.0, 0.5, 1.0], file=file)["looks"] == 2


def test_other_pairs_are_a_fresh_half(sweep, tmp_path):
    sweep([0.0, 0.5])
    rows = [json.loads(line) for line in sweep.file.read_text().splitlines()]
    rows = [{**row, "instruction": f"Another {row['instruction']}"} for row in rows]
    file = tmp_path / "fresh.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert sweep([0.0, 0.5], file=file)["looks"] == 1


def test_a_damaged_list_of_looks_is_said(sweep):
    sweep([0.0, 0.5])
    write_text(sweep.paths.sweep_looks, "torn{\n")
    with pytest.raises(ArenaError, match="the list of looks at confirmation halves is damaged"):
        sweep([0.0, 1.0])


def test_a_selection_counts_its_looks_on_top_of_holm(project):
    params, paths = project
    first = sweep_selection(
        "dpo-i1", params, paths, space={"train.dpo.beta": [0.1, 0.5]}, trials=2, confirm=2
    )
    second = sweep_selection(
        "dpo-i1", params, paths, space={"train.dpo.learning_rate": [0.001, 0.01]}, trials=2, confirm=2
    )
    assert (first["looks"], second["looks"]) == (1, 2)
    for report in (first, second):
        (against,) = [row["against_current"] for row in report["confirmed"] if row["against_current"]]
        assert against["p_holm"] == min(
            1.0, report["looks"] * against["p"]
        )  # Holm's of one comparison is its p
    assert "look 2 of sweeps" in selection_table(second)
    assert read_json(paths.sweep_report(second["study"])) == second


def test_mlflow_shows_the_number_of_looks(sweep):
    shown = []
    sweep([0.0, 0.5])
    sweep([0.0, 0.5, 1.0], log=lambda study, report: shown.append((study, report)))
    study, report = shown[-1]
    points = study_runs(study, [], report, sweep.paths)[0].points
    assert {p.name: p.value for p in points}["confirmed/looks"] == 2.0


def test_a_report_of_before_says_that_looks_were_not_counted(sweep):
    report = sweep([0.0, 0.5])
    del report["half"]
    assert "does not count looks at the half" in judge_table(report)
