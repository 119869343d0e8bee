"""Sweeping a round's selection and training: real trainings of a tiny model."""

from __future__ import annotations

import pytest

from arena_learning.core.errors import ArenaError
from arena_learning.core.json_files import read_json
from arena_learning.schema import Instruction, Response, SampleScore, read_rows, write_rows
from arena_learning.sweep.selection.run import selection_table, sweep_selection
from arena_learning.sweep.spaces import selection_space

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
    assert "confirmed on 4 other instructions" in selection_table(report)
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
        ({"pool.test": [3]}, "has no effect on a trial"),
        ({}, "the search space is empty"),
        ({"train.dpo.beta": {"low": 1, "high": 0.1}}, "is not a valid range"),
        ({"dataset.opponents": [["nobody"]]}, "no opponent 'nobody'"),
    ],
)
def test_an_unsound_space_is_refused_before_anything_is_written(project, space, message):
    params, paths = project
    with pytest.raises(ArenaError, match=message):
        sweep_selection("dpo-i1", params, paths, space=space, trials=2)
    assert not paths.sweeps.exists()
    assert not (paths.reports / "sweeps").exists()


@pytest.mark.parametrize(
    ("path", "values", "message"),
    [
        ("sampling.temperature", [0.0, 0.7], "changes how trials answer or are judged"),
        ("sampling.max_tokens", [3, 6], "changes how trials answer or are judged"),
        ("serving.dtype", ["fp32", "bf16"], "changes how trials answer or are judged"),
        ("serving.batch_size", [1, 8], "changes how trials answer or are judged"),
        ("judges.longer.tie_margin", [0.0, 1.0], "changes how trials answer or are judged"),
        ("judge.disagree", ["average", "tie"], "changes how trials answer or are judged"),
        ("rounds.dpo-i1.init", ["base"], "is fixed in a sweep"),
        ("rounds.dpo-i1.method", ["dpo", "sft"], "is fixed in a sweep"),
        ("rounds.dpo-i1.adds_to", ["none"], "is fixed in a sweep"),
        ("train.sft.epochs", [1, 2], "has no effect on a trial"),
        ("train.device", ["cpu", "auto"], "has no effect on a trial"),
    ],
)
def test_what_measures_trials_or_is_fixed_cannot_be_swept(project, path, values, message):
    """A trial of the same training took over an earlier one's measurement, made under other values."""
    params, paths = project
    with pytest.raises(ArenaError, match=message) as caught:
        sweep_selection("dpo-i1", params, paths, space={"train.dpo.beta": [0.1], path: values}, trials=2)
    assert path in str(caught.value)
    assert "rounds.dpo-i1.threshold" in str(caught.value)
    assert not paths.sweeps.exists()


def test_the_seed_of_the_training_is_no_twin(project):
    params, paths = project
    report = sweep_selection("dpo-i1", params, paths, space={"seed": [3, 4]}, trials=2, confirm=1)
    one, two = report["trials"]
    assert one["shown"]["training"] != two["shown"]["training"]
    assert "training of trial" not in two["reused"]


@pytest.mark.parametrize("method", ["dpo", "rft"])
def test_a_round_that_learns_from_samples_is_swept_over_them(project, method):
    params, paths = project
    this = params.rounds["dpo-i1"].model_copy(update={"method": method, "threshold": 1.5})
    params = params.model_copy(
        update={
            "battle": params.battle.model_copy(update={"samples": 3}),
            "dataset": params.dataset.model_copy(update={"pairs": "samples"}),
            "train": params.train.model_copy(
                update={"rft": params.train.rft.model_copy(update={"epochs": 1})}
            ),
            "rounds": {"dpo-i1": this},
        }
    )
    ids = [i.id for i in read_rows(paths.split("d1"), Instruction)]
    shared = {"finish_reason": "stop", "prompt_tokens": 1, "completion_tokens": 1}
    samples = [
        Response(instruction_id=i, contestant="base", text=f"River {k}.", sample=k, **shared)
        for i in ids
        for k in (1, 2, 3)
    ]
    # Best against worst differ by 4 on every instruction, best and mean by 2 on even ones and by 8/3 on odd ones.
    points = {0: (1, 3, 5), 1: (1, 1, 5)}
    scores = [
        SampleScore(instruction_id=i, sample=k, judge="j", score=score)
        for n, i in enumerate(ids)
        for k, score in enumerate(points[n % 2], 1)
    ]
    write_rows(paths.samples("dpo-i1"), samples)
    write_rows(paths.sample_scores("dpo-i1"), scores)
    space = {"rounds.dpo-i1.threshold": [1.5, 2.5]}
    report = sweep_selection("dpo-i1", params, paths, space=space, trials=2, confirm=1)
    rows = {t["params"]["rounds.dpo-i1.threshold"]: t["shown"]["rows"] for t in report["trials"]}
    assert rows == ({1.5: 12, 2.5: 12} if method == "dpo" else {1.5: 12, 2.5: 6})
    default = selection_space("dpo-i1", params)
    assert default.get("dataset.pairs") == (["all", "target", "samples"] if method == "dpo" else None)
