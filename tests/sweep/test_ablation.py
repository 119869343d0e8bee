"""Ablations of a round: real trainings of a tiny model, their comparison, and what a second call does not repeat."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from arena_learning.core.errors import ArenaError
from arena_learning.core.json_files import read_json
from arena_learning.params import parse_params
from arena_learning.schema import Battle, Instruction, read_rows
from arena_learning.sweep.ablation.arms import ablation_arms, fought
from arena_learning.sweep.ablation.compare import by_instruction, differences
from arena_learning.sweep.ablation.draw import draw_ablation
from arena_learning.sweep.ablation.mlflow_runs import ablation_runs
from arena_learning.sweep.ablation.run import _digest, run_ablation
from arena_learning.sweep.ablation.text import ablation_text
from arena_learning.sweep.judged_by import judged_by
from arena_learning.sweep.round_training import RoundTraining

HERE = Path(__file__).parent
ROUND = "dpo-i1"


def as_sft(params, **round_values):
    """The project's round as one of SFT."""
    this = params.rounds[ROUND].model_copy(update={"method": "sft", **round_values})
    sft = params.train.sft.model_copy(
        update=params.train.dpo.model_dump(include={"epochs", "batch_size", "max_length", "learning_rate"})
    )
    train = params.train.model_copy(update={"sft": sft})
    return params.model_copy(update={"rounds": {ROUND: this}, "train": train})


@pytest.fixture
def run(project):
    params, paths = project

    def ablate(factor, method="sft", **options):
        own = as_sft(params) if method == "sft" else params
        return run_ablation(factor, ROUND, own, paths, **options)

    ablate.params, ablate.paths = as_sft(params), paths
    return ablate


def trainings(paths):
    return {path.name: path.stat().st_mtime_ns for path in paths.ablation_arms.glob("*.json")}


def test_lost_battles_and_random_rows_are_compared_under_both_kinds_of_answers(run):
    arms = ["battles", "random", "battles:expert", "random:expert"]
    report = run("selection", arms=arms, rows=8, seeds=2)
    assert [arm["name"] for arm in report["arms"]] == arms
    assert {count for arm in report["arms"] for count in arm["rows"]} == {8}
    assert [(d["arm"], d["against"]) for d in report["differences"] if d["judge"] == "rubric"] == [
        ("random", "battles"),
        ("battles:expert", "battles"),
        ("random:expert", "battles:expert"),
    ]
    # The expert wins every battle of the fixture, so that its answers are the winners': the same model.
    same = next(d for d in report["differences"] if d["arm"] == "battles:expert")
    assert (same["mean"], same["p_holm"], same["needed"]) == (0.0, 1.0, 0)
    assert (report["seeds"], report["instructions"], report["looks"]) == ([3, 4], 8, 1)
    # Battles draw nothing, so both seeds have the 8 widest gaps; random rows differ from them and from each other.
    assert 4 / 8 <= report["arms"][1]["shared"] < 1.0
    written = sorted(path.name for path in run.paths.ablations.iterdir())
    assert written == [f"{report['name']}.{kind}" for kind in ("html", "json", "png")]
    assert read_json(run.paths.ablations / f"{report['name']}.json") == report
    page = (run.paths.ablations / f"{report['name']}.html").read_text(encoding="utf-8")
    assert "random:expert" in page
    assert "data:image/png;base64," in page
    assert "p (Holm)" in ablation_text(report)
    assert not [path for path in run.paths.ablation_arms.iterdir() if path.is_dir()]
    whole, *shown = ablation_runs(report, run.paths)
    assert [view.tags["arena.arm"] for view in shown] == arms
    assert {file.path.suffix for file in whole.files} == {".json", ".html", ".png"}
    assert {"difference/rubric/random/mean", "difference/longer/random/p_holm"} <= {
        p.name for p in whole.points
    }


def test_a_second_call_trains_nothing_and_a_further_seed_only_its_own(run):
    options = {"arms": ["3"]}
    first = run("threshold", **options)
    before = trainings(run.paths)
    assert [(arm["name"], arm["rows"]) for arm in first["arms"]] == [("K 1", [12]), ("K 3", [8])]
    assert run("threshold", **options) == first
    assert trainings(run.paths) == before
    more = run("threshold", **options, seeds=2)
    assert before.items() <= trainings(run.paths).items()
    assert len(trainings(run.paths)) == 2 * len(before) == 4
    assert (more["name"], first["looks"], more["looks"]) == (first["name"], 1, 2)
    one, two = (r["arms"][1]["judges"]["rubric"]["by_seed"] for r in (first, more))
    assert len(two) == 2
    assert two[:1] == one


@pytest.mark.slow
def test_opponents_and_modes_choose_among_the_judged_battles(run):
    report = run("opponents", method="dpo")
    assert [(a["name"], a["against"], a["place"]) for a in report["arms"]] == [
        ("expert", "", 1.0),
        ("expert+plain", "expert", 2.0),
    ]
    modes = run("mode", arms=["all", "split", "one:plain"])
    counts = {arm["name"]: arm["rows"] for arm in modes["arms"]}
    assert counts["all"] == [12]
    assert counts["one:plain"] == [0]  # base and plain tie in the fixture: below the threshold
    assert 0 < counts["split"][0] < 12
    plain = modes["arms"][2]
    assert plain["judges"] == {}
    assert plain["given_up"] == ["0 rows, fewer than 8"]
    assert "one:plain: 0 rows, fewer than 8" in ablation_text(modes)
    assert not [d for d in modes["differences"] if d["arm"] == "one:plain"]


@pytest.mark.parametrize(
    ("factor", "options", "message"),
    [
        ("selection", {"split": "test"}, "the test set decides nothing"),
        ("selection", {"split": "d2"}, "no held-out split"),
        ("selection", {"arms": ["battles", "luck"]}, "no strategy 'luck'"),
        ("selection", {"arms": ["battles", "random:nobody"]}, "no opponent 'nobody'"),
        ("selection", {"arms": ["battles", "battles"]}, "named twice"),
        ("selection", {"arms": ["battles"]}, "1 arm is too few"),
        ("selection", {"rows": 3}, "3 rows are too few"),
        ("selection", {"seeds": 0}, "0 is too few"),
        ("threshold", {"arms": ["high"]}, "'high' is no threshold"),
        ("threshold", {"arms": ["12"]}, "threshold"),
        ("opponents", {"arms": ["expert", "expert+nobody"]}, "no opponent 'nobody'"),
        ("mode", {"arms": ["all", "none"]}, "no mode 'none'"),
    ],
)
def test_a_bad_argument_is_refused_before_anything_is_trained(run, factor, options, message):
    with pytest.raises(ArenaError, match=message):
        run(factor, **options)
    assert not run.paths.ablation_arms.exists()
    assert not run.paths.ablations.exists()


def test_a_round_without_a_target_has_nothing_to_compare(run):
    params = as_sft(run.params, target="none", labels="expert")
    with pytest.raises(ArenaError, match="learns labels without battles"):
        run_ablation("selection", ROUND, params, run.paths)


def test_only_sft_learns_named_answers(run):
    with pytest.raises(ArenaError, match="only an SFT round"):
        run("selection", method="dpo", arms=["battles", "battles:expert"])


def test_the_default_arms(run):
    def names(factor):
        return [arm.name for arm in ablation_arms(factor, ROUND, run.params)]

    assert names("selection") == ["battles", "random", "length", "kmeans", "ifd", "tags", "all"]
    assert names("threshold") == ["K 1", "K 0", "K 2", "K 3", "K 4", "K 5"]
    assert names("opponents") == ["expert", "expert+plain"]
    assert names("mode") == ["all", "split", "one:expert", "one:plain"]


def test_a_mode_without_its_battles_says_how_to_get_them(run):
    battles = [b for b in read_rows(run.paths.battles(ROUND), Battle) if b.b == "expert"]
    asked = read_rows(run.paths.split("d1"), Instruction)
    whole, split, *_ = ablation_arms("mode", ROUND, run.params)
    with pytest.raises(ArenaError, match="24 battles are not judged"):
        fought(whole, battles, asked, ROUND, run.params)
    with pytest.raises(ArenaError, match=r"battle\.mode to all"):
        fought(split, battles, asked, ROUND, run.params)


def test_an_instruction_counts_once_and_holm_counts_the_comparisons_of_a_judge(files):
    def result(gains, seed):
        return {"seed": seed, "given_up": "", "gains": {"j": gains}}

    arms = ablation_arms("selection", ROUND, as_sft(files[0]), ["battles", "random", "length"])
    zero = dict.fromkeys("abcde", 0.0)
    # random is 1 below on five instructions under one seed and 2 below under the other: 1.5 a piece, spread 0.
    random = [result(dict.fromkeys("abcde", -float(n)), n) for n in (1, 2)]
    # length has no score for e under one seed: four instructions, of which two are higher and two lower.
    mixed = {"a": 1.0, "b": 1.0, "c": -1.0, "d": -1.0}
    length = [result(mixed, 1), result({**mixed, "e": 5.0}, 2)]
    done = {"battles": [result(zero, 1), result(zero, 2)], "random": random, "length": length}
    assert by_instruction(random, "j") == dict.fromkeys("abcde", -1.5)
    one, two = differences(arms, done, ["j"], seed=0, looks=3)
    assert (one["mean"], one["lower"], one["upper"], one["items"], one["by_seed"]) == (
        -1.5,
        -1.5,
        -1.5,
        5,
        [-1, -2],
    )
    # Five equal signs: p = 2 / 2**5; times two comparisons, times three looks.
    assert one["p"] == pytest.approx(2 / 32)
    assert one["p_holm"] == pytest.approx(2 / 32 * 2 * 3)
    assert one["detectable"] is None  # no spread: nothing to learn it from
    assert (two["mean"], two["items"], two["p_holm"], two["needed"]) == (0.0, 4, 1.0, 0)
    # Deviation of 1, 1, -1, -1: root of 4/3. Two comparisons and three looks: a level of 0.05 / 6, whose normal
    # quantile is 2.638; that of 80 % power is 0.842.
    assert two["detectable"] == pytest.approx((2.638 + 0.842) * (4 / 3) ** 0.5 / 2, abs=0.002)


def test_arms_are_compared_under_the_seeds_that_both_have(files):
    def result(seed, gain):
        if gain is None:
            return {"seed": seed, "given_up": "it could not be trained"}
        return {"seed": seed, "given_up": "", "gains": {"j": dict.fromkeys("abcde", gain)}}

    arms = ablation_arms("selection", ROUND, as_sft(files[0]), ["battles", "random"])
    done = {
        "battles": [result(seed, gain) for seed, gain in ((1, 0.0), (2, 1.0), (3, 2.0))],
        "random": [result(seed, gain) for seed, gain in ((1, None), (2, 1.5), (3, 3.0))],
    }
    (found,) = differences(arms, done, ["j"], seed=0, looks=1)
    assert found["by_seed"] == [0.5, 1.0]
    assert found["mean"] == 0.75
    done["random"] = [result(seed, None) for seed in (1, 2, 3)]
    assert differences(arms, done, ["j"], seed=0, looks=1) == []


def test_sets_of_as_many_opponents_are_drawn_over_each_other(tmp_path):
    own = {"mean": 0.5, "lower": 0.1, "upper": 0.9, "by_seed": [0.5]}
    arms = [
        {"name": name, "place": place, "judges": {"j": own}, "rows": [8]}
        for name, place in (("expert", 1.0), ("plain", 1.0), ("expert+plain", 2.0))
    ]
    report = {"arms": arms, "judges": ["j"], "factor": "opponents", "start": "base"}
    assert draw_ablation(report, tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]


def test_a_judges_prompt_and_members_are_part_of_a_measurement(files):
    params, paths = files
    assert judged_by(["rubric", "longer"], params, paths) == {}
    raw = params.model_dump(mode="json")
    raw["judges"]["big"] = {"kind": "llm", "engine": "openvino", "model": "none", "template": "own.jinja"}
    raw["judges"]["panel"] = {"kind": "jury", "members": ["big", "longer"]}
    template = paths.root / "own.jinja"

    def found(names, text="A: {{ response_a }}"):
        template.write_text(text, encoding="utf-8")
        return judged_by(names, parse_params(raw, "test"), paths)

    assert found(["big"]).keys() == {"templates", "seed"}
    assert found(["big"]) != found(["big"], "B: {{ response_b }}")
    before = found(["panel"])
    assert before.keys() == {"members", "templates", "seed"}
    raw["judges"]["longer"]["tie_margin"] = 0.5
    assert found(["panel"]) != before


def test_another_threshold_of_the_round_is_another_ablation(run):
    def digest(threshold):
        params = as_sft(run.params, threshold=threshold)
        work = RoundTraining(ROUND, params, run.paths)
        return _digest(work, ablation_arms("selection", ROUND, params, ["battles", "random"]))

    assert digest(1.0) == digest(1.0) != digest(2.0)


def test_what_a_training_reported_outlives_a_stop_before_it_is_measured(run, monkeypatch):
    def stopped(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(RoundTraining, "measure", stopped)
        with pytest.raises(KeyboardInterrupt):
            run("threshold", arms=["3"])
    report = run("threshold", arms=["3"])
    assert [arm["rows"] for arm in report["arms"]] == [[12], [8]]
    for file in run.paths.ablation_arms.glob("*.json"):
        assert read_json(file)["train"]["steps"] > 0


@pytest.mark.slow
def test_a_killed_ablation_trains_no_finished_arm_again(run):
    """Killed while the second arm is trained or measured; the next call knows the first."""
    command = [sys.executable, str(HERE / "slow_ablation.py"), str(run.paths.root)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    for line in process.stderr:
        if line.startswith("arm random, seed 3 (2 of 2)"):
            process.kill()
            break
    process.communicate()
    before = trainings(run.paths)
    assert len(before) == 1
    again = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert "arm battles, seed 3: 8 rows" in again.stderr
    assert "(known already)" in again.stderr.split("arm random, seed 3 (2 of 2)")[0]
    assert before.items() <= trainings(run.paths).items()
    assert len(trainings(run.paths)) == 2
