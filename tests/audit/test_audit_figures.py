"""The audit's figures, worked out by hand, and its command."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scripted import WordCountJudge

from arena_learning.core.errors import ArenaError
from arena_learning.core.json_files import read_json
from arena_learning.core.paths import Paths
from arena_learning.judge.audit.agreement import agreement_decided, agreement_share, audit_judge, kappa
from arena_learning.judge.audit.labelled import read_labelled
from arena_learning.judge.audit.run import audit_judges, audit_table, flat_figures
from arena_learning.judge.length_baseline import LengthBaselineJudge
from arena_learning.params import parse_params
from arena_learning.store.store import Store

ROOT = Path(__file__).parents[2]
HUMAN = ROOT.parent / "shared" / "data" / "human_preferences.jsonl.gz"


def pair(number, a, b, label, **fields):
    row = {"id": f"p{number}", "instruction": f"Q {number}", "response_a": a, "response_b": b, "label": label}
    return {**row, **fields}


# The longer wins: right, right, wrong, tie where the label is a tie, tie where it is not; one says nonsense.
ROWS = [
    pair(1, "one two three", "one", "model_a", source="s1"),
    pair(2, "one", "one two", "model_b", source="s1"),
    pair(3, "one two", "one", "model_b", source="s1"),
    pair(4, "one", "two", "tie", source="s2"),
    pair(5, "one", "two", "model_a", source="s2"),
    pair(6, "nonsense", "two", "model_a", source="s2"),
]


def write(path, rows):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("name", ["labels.jsonl", "labels.jsonl.gz"])
def test_figures_are_those_worked_out_by_hand(tmp_path, name):
    labelled = read_labelled(write(tmp_path / name, ROWS))
    with Store(tmp_path / "store.sqlite") as store:
        found = audit_judge(WordCountJudge(), labelled, store)
        again = audit_judge(WordCountJudge(), labelled, store)
    whole = found["all"]
    assert (whole["pairs"], whole["scored"], whole["decided"]) == (6, 5, 3)
    assert whole["agreement"]["value"] == pytest.approx(3 / 5)
    assert whole["agreement_decided"]["value"] == pytest.approx(2 / 3)
    # Labels of the five: a 2, b 2, tie 1; verdicts: a 2, b 1, tie 2. Chance: (4 + 2 + 2) / 25 = 0.32.
    assert whole["kappa"]["value"] == pytest.approx((0.6 - 0.32) / (1 - 0.32))
    assert whole["longer_wins"] == 1
    assert whole["flip_rate"] == 0
    assert whole["first_position_share"] == 0.5
    assert whole["unscored_rate"] == pytest.approx(1 / 6)
    assert whole["unscored_reasons"] == {"nonsense": 2}
    assert whole["tokens_per_game"] == pytest.approx(7 * 10 / 12)
    assert found["sources"]["s1"]["agreement"]["value"] == pytest.approx(2 / 3)
    assert found["sources"]["s2"]["pairs"] == 3
    assert found["categories"] == {}  # only one
    assert (found["judged"], again["judged"]) == (12, 0)  # the unscored pair is remembered with its reason
    assert {**again["all"], "seconds_per_game": whole["seconds_per_game"]} == whole


def test_intervals_resample_instructions(tmp_path):
    # Two instructions asked fifty times each say as little as if asked once: the interval is all there is.
    rows = [
        pair(
            n,
            "one two",
            "one",
            "model_a" if n < 50 else "model_b",
            instruction="same" if n < 50 else "another",
        )
        for n in range(100)
    ]
    alone = [{**row, "instruction": row["id"]} for row in rows]
    found = []
    with Store(tmp_path / "s.sqlite") as store:
        for name, some in (("clustered", rows), ("alone", alone)):
            labelled = read_labelled(write(tmp_path / f"{name}.jsonl", some))
            found.append(audit_judge(LengthBaselineJudge(), labelled, store)["all"]["agreement"])
    assert found[0] == {"value": 0.5, "lower": 0, "upper": 1}
    assert 0.38 < found[1]["lower"] < 0.42  # 0.5 - 1.96 * sqrt(0.25 / 100)


def test_kappa_and_agreement_of_known_tables():
    perfect, chance = np.diag([3.0, 4.0, 2.0]), np.full((3, 3), 4.0)
    assert kappa(np.stack([perfect, chance])).tolist() == [1, 0]
    assert agreement_share(chance) == pytest.approx(1 / 3)
    assert agreement_decided(chance) == 0.5
    assert np.isnan(kappa(np.zeros((3, 3))))
    assert np.isnan(kappa(np.diag([5.0, 0.0, 0.0])))  # all say the same: nothing is beyond chance


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({**ROWS[0], "label": "maybe"}, "label 'maybe' is unknown"),
        ({**ROWS[0], "instruction": " "}, "an 'instruction' or 'turns' is needed"),
        ({k: v for k, v in ROWS[0].items() if k != "response_b"}, "response_b"),
        (ROWS[0], "used twice"),
    ],
)
def test_a_malformed_label_names_its_line(tmp_path, row, what):
    path = write(tmp_path / "l.jsonl", [ROWS[0], row])
    with pytest.raises(ArenaError, match=what) as caught:
        read_labelled(path)
    assert "l.jsonl, line 2" in caught.value.where


@pytest.mark.parametrize("line", ["{", '{"id": "x", "instruction": "half \\ud83d"}'])
def test_what_is_no_json_or_no_text_names_its_line(tmp_path, line):
    (tmp_path / "l.jsonl").write_text(f"\ufeff{json.dumps(ROWS[0])}\n{line}\n", encoding="utf-8")
    with pytest.raises(ArenaError, match="Invalid JSON") as caught:
        read_labelled(tmp_path / "l.jsonl")
    assert "l.jsonl, line 2" in caught.value.where


def test_a_file_that_is_missing_or_broken_is_told(tmp_path):
    (tmp_path / "half.gz").write_bytes(gzip.compress(b"x" * 999)[:20])
    (tmp_path / "empty.jsonl").write_text("")
    for name, what in (
        ("none.jsonl", "no such file"),
        ("half.gz", "cannot be read"),
        ("empty.jsonl", "no labelled"),
    ):
        with pytest.raises(ArenaError, match=what):
            read_labelled(tmp_path / name)


def test_several_turns_may_be_labelled(tmp_path):
    turns = [
        {"role": r, "content": c} for r, c in (("user", "Hi"), ("assistant", "Hello"), ("user", "Again"))
    ]
    row = {k: v for k, v in ROWS[0].items() if k != "instruction"} | {"turns": turns}
    (instruction,) = read_labelled(write(tmp_path / "l.jsonl", [row])).instructions.values()
    assert instruction.multi_turn


@pytest.fixture
def project(tmp_path, make_params):
    params = parse_params(make_params(), "here")
    return params, Paths(tmp_path)


def test_the_baseline_is_always_in_the_table(tmp_path, project):
    params, paths = project
    result = audit_judges(write(tmp_path / "labels.jsonl", ROWS), [], params, paths)
    assert list(result["judges"]) == ["longer"]  # a rubric judge can score no such pair
    # "nonsense" and "two" are a word each: the baseline reads nothing, so that is a tie too.
    assert result["judges"]["longer"]["all"]["scored"] == 6
    written = read_json(paths.audit("labels"))
    assert "judged" not in written["judges"]["longer"]
    assert "longer" in audit_table(result)
    assert "50.0%" in audit_table(result)
    assert flat_figures(result, "longer")["agreement"] == 0.5
    with pytest.raises(ArenaError, match="no judge 'rubrik'"):
        audit_judges(tmp_path / "labels.jsonl", ["rubrik"], params, paths)


def test_the_command_prints_a_table_or_json(tmp_path, monkeypatch):
    from arena_learning.cli.audit_judge import command

    monkeypatch.chdir(tmp_path)
    write(tmp_path / "labels.jsonl", ROWS)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    said = CliRunner().invoke(command, ["labels.jsonl"])
    assert said.exit_code == 0, said.output
    assert "labels: 6 labelled pairs" in said.output
    found = json.loads(CliRunner().invoke(command, ["labels.jsonl", "--json"]).output)
    assert found["judges"]["longer"]["judged"] == 0


def test_the_shipped_labels_are_read_and_length_says_little_of_them(tmp_path):
    labelled = read_labelled(ROOT / "data" / "judge_labels.jsonl")
    assert len(labelled.pairs) == 180
    with Store(tmp_path / "s.sqlite") as store:
        found = audit_judge(LengthBaselineJudge(), labelled, store)
    assert len(found["categories"]) == 9
    assert 0.2 < found["all"]["agreement_decided"]["value"] < 0.6


def test_the_human_labels_are_read_and_the_longer_answer_wins_two_thirds_of_them(tmp_path):
    if not HUMAN.is_file():
        pytest.skip(f"no {HUMAN.name} beside the project")
    labelled = read_labelled(HUMAN)
    with Store(tmp_path / "s.sqlite") as store:
        found = audit_judge(LengthBaselineJudge(), labelled, store)
    assert found["all"]["pairs"] == 2489
    assert (
        0.6 < found["all"]["agreement_decided"]["value"] < 0.72
    )  # people like the longer: 66 % on these pairs
    assert set(found["sources"]) >= {"pandalm", "tulu_human_eval"}


def test_a_sample_is_drawn_by_the_seed_and_reported_beside_the_whole(tmp_path, project):
    params, paths = project
    file = write(tmp_path / "labels.jsonl.gz", [pair(n, "one two", "one", "model_a") for n in range(30)])
    ids = [[p.id for p in read_labelled(file, sample=10, seed=seed).pairs] for seed in (1, 1, 2)]
    assert ids[0] == ids[1] != ids[2]
    assert ids[0] == sorted(ids[0], key=lambda name: int(name[1:])), "in the file's order"
    assert len(read_labelled(file, sample=99).pairs) == 30
    assert audit_judges(file, [], params, paths, sample=10)["labelled"] == "labels-10"
    assert (read_json(paths.audit("labels-10"))["pairs"], paths.audit("labels").exists()) == (10, False)


def test_judges_audited_before_stay_in_the_report_until_the_pairs_change(tmp_path, make_params):
    judges = {"rubric": {"kind": "longer"}, "other": {"kind": "longer"}}
    params, paths = parse_params(make_params(judges=judges), "here"), Paths(tmp_path)
    file = write(tmp_path / "labels.jsonl", ROWS)
    audit_judges(file, ["rubric"], params, paths)
    audit_judges(file, ["other"], params, paths)
    assert sorted(read_json(paths.audit("labels"))["judges"]) == ["longer", "other", "rubric"]
    write(file, ROWS[1:])
    audit_judges(file, ["other"], params, paths)
    assert sorted(read_json(paths.audit("labels"))["judges"]) == ["longer", "other"]
