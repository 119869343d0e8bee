"""Sweeping a round's selection and training: real trainings of a tiny model."""

from __future__ import annotations

import pytest

from arena_learning.errors import ArenaError
from arena_learning.rows import read_json
from arena_learning.sweep.run_selection import sweep_selection, table

SPACE = {"rounds.dpo-i1.threshold": [1.0, 3.0], "train.dpo.beta": [0.1, 0.5]}


def test_a_small_space_is_walked_as_a_grid_and_the_best_confirmed(project):
    params, paths = project
    report = sweep_selection("dpo-i1", params, paths, space=SPACE, trials=8, confirm=2)
    assert report["trials"][0]["params"] == {
        "rounds.dpo-i1.threshold": 1.0,
        "train.dpo.beta": 0.1,
    }
    assert len({str(t["params"]) for t in report["trials"]}) == 4 == len(report["trials"])
    assert {t["state"] for t in report["trials"]} == {"complete"}
    assert [
        t["shown"]["rows"] for t in report["trials"] if t["params"]["rounds.dpo-i1.threshold"] == 3.0
    ] == [8, 8]
    assert len(report["confirmed"]) == 3
    assert report["winner"] in [row["trial"] for row in report["confirmed"]]
    assert read_json(paths.sweep_report(report["study"])) == report
    assert "confirmed on 4 other instructions" in table(report)
    assert not (paths.root / "models" / "dpo-i1").exists()


def test_a_second_call_finds_all_done_and_more_trials_go_on(project):
    params, paths = project
    space = {"train.dpo.beta": [0.1, 0.3, 0.5], "train.dpo.learning_rate": [1e-3, 1e-4]}
    first = sweep_selection("dpo-i1", params, paths, space=space, trials=2, confirm=1)
    again = sweep_selection("dpo-i1", params, paths, space=space, trials=2, confirm=1)
    assert again == first
    more = sweep_selection("dpo-i1", params, paths, space=space, trials=3, confirm=1)
    assert more["trials"][:2] == first["trials"]
    assert len(more["trials"]) == 3


def test_values_that_leave_too_few_rows_are_not_trained(project):
    params, paths = project
    report = sweep_selection("dpo-i1", params, paths, space={"rounds.dpo-i1.threshold": [9.0]}, trials=2)
    few = next(t for t in report["trials"] if t["params"]["rounds.dpo-i1.threshold"] == 9.0)
    assert few["state"] == "pruned"
    assert few["given_up"] == "0 rows, fewer than 8"
    assert few["constraints"] == {"rows": 8.0}


def test_other_values_with_the_same_rows_reuse_the_training(project):
    params, paths = project
    report = sweep_selection("dpo-i1", params, paths, space={"dataset.max_words": [0, 50]}, trials=2)
    one, two = report["trials"]
    assert two["reused"]["training of trial"] == one["number"]
    assert two["values"] == one["values"]
    assert two["reused"]["battles"] == 36


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"train.dpo.bta": [1]}, "no such key"),
        ({"train.dpo.beta": [-1]}, "train.dpo.beta"),
        ({"pool.test": [3]}, "changes nothing"),
        ({}, "nothing to try"),
        ({"train.dpo.beta": {"low": 1, "high": 0.1}}, "is no range"),
        ({"dataset.opponents": [["nobody"]]}, "no opponent 'nobody'"),
    ],
)
def test_an_unsound_space_is_refused_before_anything_is_written(project, space, message):
    params, paths = project
    with pytest.raises(ArenaError, match=message):
        sweep_selection("dpo-i1", params, paths, space=space, trials=2)
    assert not paths.sweeps.exists()
    assert not (paths.reports / "sweeps").exists()
