"""Sweeping a judge against labelled pairs, with judges that cost nothing: the longer answer wins."""

from __future__ import annotations

import json

import pytest

from arena_learning.core.errors import ArenaError
from arena_learning.judge.audit.labelled import read_labelled
from arena_learning.sweep.judge.run import judge_table, sweep_judge
from arena_learning.sweep.judge.task import JudgeTask, Limits, halves

MARGIN = "judges.longer.tie_margin"


@pytest.fixture
def sweep(files, tmp_path, write_pairs):
    params, paths = files
    file = write_pairs(tmp_path / "pairs.jsonl")

    def run(space, **options):
        return sweep_judge("longer", params, paths, space=space, file=file, **{"trials": 8, **options})

    run.params, run.paths, run.file = params, paths, file
    return run


def test_the_margin_that_knows_ties_wins_and_is_confirmed_once(sweep):
    # Scores are 1 + 9 x share: 20 against 19 words differ by 0.23, 20 against 4 by 6. So a margin of 0.5 is right on
    # all pairs, none on 4 of 5, and 8 calls everything a tie.
    report = sweep({MARGIN: [0.0, 0.5, 8.0]})
    found = {t["params"][MARGIN]: t for t in report["trials"]}
    assert found[0.5]["values"] == [1.0]
    assert found[0.0]["values"] == [pytest.approx(0.8)]
    assert report["winner_params"] == {MARGIN: 0.5}
    assert [row["agreement"]["mean"] for row in report["confirmed"]] == [1.0, pytest.approx(0.8)]
    against = report["against_current"]
    assert (against["better"], against["worse"]) == (4, 0)
    assert against["p"] == pytest.approx(2 / 2**4)
    assert report["looks"] == 1
    assert "smallest detectable difference" in judge_table(report)


def test_a_jury_is_swept_with_the_settings_of_its_members(sweep):
    from arena_learning.params import parse_params

    raw = sweep.params.model_dump(mode="json")
    raw["judges"]["rubric"] = {"kind": "llm", "engine": "transformers", "model": "models/none"}
    raw["judges"]["same"] = {"kind": "longer", "tie_margin": 8.0}
    raw["judges"]["panel"] = {"kind": "jury", "members": ["longer", "same"]}
    raw["evaluate"]["judges"] = ["longer"]
    params = parse_params(raw, "test")
    task = JudgeTask("panel", params, sweep.paths, {MARGIN: [0.0, 0.5]}, sweep.file)
    assert task.may_vary("judges.same.tie_margin")
    assert not task.may_vary("judges.rubric.temperature")
    inputs = [task.inputs({MARGIN: margin}) for margin in (0.0, 0.5)]
    assert inputs[0] != inputs[1]
    with pytest.raises(
        ArenaError, match=r"use keys of judges\.panel, judges\.longer, judges\.same, or judge\.disagree"
    ):
        JudgeTask("panel", params, sweep.paths, {"judges.rubric.temperature": [0.0]}, sweep.file)


def test_a_judge_that_is_clearly_worse_is_given_up_before_the_last_block(sweep):
    worse = next(t for t in sweep({MARGIN: [0.5, 8.0]})["trials"] if t["params"][MARGIN] == 8.0)
    assert worse["state"] == "pruned"
    assert worse["given_up"].startswith("clearly worse than the best")
    assert worse["shown"]["pairs"] == 15


def test_nothing_is_judged_twice(sweep):
    first = sweep({MARGIN: [0.0, 0.5]})
    assert [t["reused"]["games"] for t in first["trials"]] == [0, 40]  # 20 pairs, two orders


def test_no_pair_is_in_both_halves_and_both_have_all_classes(sweep, tmp_path):
    rows = [json.loads(line) for line in sweep.file.read_text().splitlines()]
    twice = [*rows, *({**row, "id": row["id"] + "x"} for row in rows)]  # two pairs an instruction
    file = tmp_path / "twice.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in twice), encoding="utf-8")
    labelled = read_labelled(file)
    tune, confirm = halves(labelled, 0, "")
    assert not {labelled.clusters[p] for p in tune} & {labelled.clusters[p] for p in confirm}
    assert sorted([*tune, *confirm]) == list(range(80))
    assert abs(len(tune) - len(confirm)) <= 2


def test_two_objectives_give_a_front_and_prune_nothing(sweep):
    report = sweep({MARGIN: [0.0, 0.5, 8.0]}, objectives=["agreement", "-flips"])
    assert {t["state"] for t in report["trials"]} == {"complete"}
    assert report["pareto"] == [report["winner"]]
    assert (sweep.paths.sweep_figures(report["study"]) / "pareto.png").is_file()


def test_a_space_with_no_feasible_trial_says_so_and_writes_no_report(sweep):
    with pytest.raises(ArenaError, match=r"none of 2 trials is feasible .*flips"):
        sweep({MARGIN: [0.0, 0.5]}, limits=Limits(flips=-0.1))
    assert not (sweep.paths.reports / "sweeps").exists()


def llm(params):
    raw = params.model_dump(mode="json")
    raw["judges"]["big"] = {"kind": "llm", "engine": "transformers", "model": "models/base"}
    from arena_learning.params import parse_params

    return parse_params(raw, "test")


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"judges.big.template": ["pairwise-scor"]}, "no template 'pairwise-scor'"),
        ({"judges.big.temperature": [-1.0]}, "temperature"),
        ({"judges.rubric.points": ["content"]}, "has no effect on the judge 'big'"),
    ],
)
def test_unsound_spaces_are_refused_before_a_model_is_loaded(sweep, space, message):
    with pytest.raises(ArenaError, match=message):
        JudgeTask("big", llm(sweep.params), sweep.paths, space, sweep.file)
    assert not sweep.paths.sweeps.exists()


@pytest.mark.parametrize(
    ("count", "label", "message"),
    [
        (0, None, "no labelled pairs"),
        (40, "model_a", "all labels are"),
        (12, None, "needs 10"),
    ],
)
def test_labels_that_can_tell_nothing_are_refused(sweep, write_pairs, tmp_path, count, label, message):
    file = write_pairs(tmp_path / "other.jsonl", count, label)
    with pytest.raises(ArenaError, match=message):
        sweep_judge("longer", sweep.params, sweep.paths, space={MARGIN: [0.0]}, file=file, trials=2)
    assert not sweep.paths.sweeps.exists()


def test_a_changed_space_takes_over_what_still_holds(sweep):
    first = sweep({MARGIN: [0.0, 0.5]})
    second = sweep({MARGIN: [0.0, 0.5, 1.0]})
    assert second["study"] != first["study"]
    carried = {t["params"][MARGIN]: t["carried_from"] for t in second["trials"]}
    assert carried[0.5].startswith(first["study"])
    assert carried[1.0] == ""
    other = sweep({MARGIN: [0.0, 0.5, 1.0]}, limits=Limits(unscored=0.1))  # other limits, another outcome
    assert not any(t["carried_from"] for t in other["trials"])
