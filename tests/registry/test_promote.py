"""Promotion: what a round's model must show, the reason of each refusal, and the way back."""

from __future__ import annotations

import subprocess

import pytest
import yaml
from click.testing import CliRunner
from gate_project import ASKED, ROUNDS, make_project, play, write_answers, write_scores, write_weights

from arena_learning.cli.main import cli
from arena_learning.core import ArenaError, read_json, write_json
from arena_learning.leaderboard import read_arena_battles
from arena_learning.leaderboard.ratings import make_leaderboard
from arena_learning.params import load_params, parse_params
from arena_learning.project import DVC, changed_dependencies
from arena_learning.registry import champion_on_record, compare_with_champion, promote, roll_back, write_gate
from arena_learning.registry.elo_difference import rating_difference
from arena_learning.registry.model_card import model_card
from arena_learning.schema import read_decisions

LOOP = " and so on" * 40


def failed(decision) -> set[str]:
    return {name for name, check in decision.figures["checks"].items() if check["passed"] is False}


def answer(project, **how) -> None:
    """Give dpo-i1 other test answers, and make the leaderboard again."""
    params, paths = project
    write_answers(paths, "dpo-i1", **how)
    make_leaderboard(params, paths)


def test_a_better_round_becomes_the_champion_and_the_decision_is_on_record(project):
    params, paths = project
    assert champion_on_record(paths) is None
    decision = promote("sft-i1", params, paths)
    assert (decision.accepted, decision.reasons, decision.against) == (True, (), "base")
    assert champion_on_record(paths) == decision == read_decisions(paths.registry)[-1]
    assert decision.figures["judge"] == "reference"
    elo = decision.figures["checks"]["elo"]
    assert elo["value"] > 0
    assert "sft-i1 is +" in elo["text"]
    after = promote("dpo-i1", params, paths)
    assert (after.accepted, after.against) == (True, "sft-i1")
    assert champion_on_record(paths).round == "dpo-i1"


def test_a_dry_run_records_nothing(project):
    params, paths = project
    assert promote("sft-i1", params, paths, write=False).accepted
    assert not paths.registry.exists()


def test_a_dry_run_says_so_and_checks_are_printed_in_the_order_in_which_they_are_made(project, monkeypatch):
    params, paths = project
    monkeypatch.chdir(paths.root)
    dry = CliRunner().invoke(cli, ["promote", "sft-i1", "--dry-run"]).output.splitlines()
    assert dry[0] == "sft-i1 would be the champion; nothing is recorded"
    assert dry[1].startswith("  ok    sft-i1 is +")
    promote("sft-i1", params, paths)
    # registry.json sorts the checks by name.
    told = CliRunner().invoke(cli, ["champion"]).output.splitlines()
    assert [line for line in told if line[:8] in ("  ok    ", "  -     ")] == dry[1:]


def test_a_model_that_has_changed_since_it_answered_is_not_promoted(project, monkeypatch):
    paths = project[1]
    monkeypatch.chdir(paths.root)
    each = {"cmd": "true", "deps": ["models/${key}", "data/arena/responses/${key}.jsonl"]}
    stages = {"answer": {"foreach": "${rounds}", "do": each}}
    paths.pipeline.write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")
    dry = ["promote", "sft-i1", "--dry-run"]
    assert CliRunner().invoke(cli, dry).exit_code == 0  # no DVC: nothing is on record
    for command in (["git", "init", "--quiet"], [*DVC, "init", "--quiet"], [*DVC, "repro", "--quiet"]):
        subprocess.run(command, check=True)
    assert changed_dependencies("answer@sft-i1", paths) == {}
    assert CliRunner().invoke(cli, dry).exit_code == 0
    write_answers(paths, "sft-i1", cut=1)  # another file than the model
    assert changed_dependencies("answer@sft-i1", paths) == {"data/arena/responses/sft-i1.jsonl": "modified"}
    assert CliRunner().invoke(cli, dry).exit_code == 0
    write_weights(paths, "sft-i1", "trained again")
    refused = CliRunner().invoke(cli, dry)
    assert isinstance(refused.exception, ArenaError)
    assert "has changed since it answered the test set" in str(refused.exception)
    assert CliRunner().invoke(cli, ["promote", "dpo-i1", "--dry-run"]).exit_code == 0
    paths.lockfile.write_text("stages: [", encoding="utf-8")
    with pytest.raises(ArenaError, match=r"dvc\.lock"):
        changed_dependencies("answer@sft-i1", paths)


def test_the_champion_is_not_promoted_twice(project):
    params, paths = project
    promote("sft-i1", params, paths)
    with pytest.raises(ArenaError, match="is the champion already"):
        promote("sft-i1", params, paths)
    assert len(read_decisions(paths.registry)) == 1


def test_a_round_that_is_only_as_good_is_refused(project):
    params, paths = project
    promote("dpo-i1", params, paths)
    decision = promote("sft-i1", params, paths)  # it loses 24 of 30 battles against dpo-i1
    assert (decision.accepted, failed(decision)) == (False, {"elo"})
    assert "the lower end is not above 0" in decision.reasons[0]
    assert champion_on_record(paths).round == "dpo-i1"
    assert [one.accepted for one in read_decisions(paths.registry)] == [True, False]


@pytest.mark.parametrize(
    ("how", "check", "said"),
    [
        # 120 more words of a loop, beside 4.
        ({"more": LOOP}, "length", "more than 1.3 times as many"),
        ({"more": LOOP}, "repetition", "above the limit of 0.05"),
        # 2 of 30 are a rise of 0.067.
        ({"cut": 2}, "cut_off", "+0.067, above the limit of 0.05"),
        ({"refused": 1}, "refusals", "+0.033, above the limit of 0.02"),
        # 30 numbers and 10 lists are asked for; 3 numbers less are a fall of 0.075.
        ({"right": ASKED - 3}, "capability", "37 of 40 right, of base 40: a fall beyond the limit of 0.05"),
    ],
)
def test_a_planted_regression_is_refused_with_its_reason(project, how, check, said):
    params, paths = project
    answer(project, **how)
    decision = promote("dpo-i1", params, paths)
    assert not decision.accepted
    assert check in failed(decision)
    assert said in decision.figures["checks"][check]["text"]
    assert decision.figures["checks"][check]["text"] in decision.reasons
    assert champion_on_record(paths) is None


def test_what_stays_within_the_limits_is_no_regression(project):
    params, paths = project
    # One cut-off answer of 30 is a rise of 0.033; two right numbers less are a fall of 2 in 40.
    answer(project, cut=1, right=ASKED - 2)
    assert promote("dpo-i1", params, paths).accepted


def test_a_judge_that_taught_decides_nothing(project):
    params, paths = project
    # rubric, which chose the data, still prefers dpo-i1; reference prefers the base.
    play(
        params,
        paths,
        ("base", "sft-i1", "dpo-i1", "expert"),
        reference=("sft-i1", "dpo-i1", "base", "expert"),
    )
    decision = promote("dpo-i1", params, paths)
    # The judges disagree on all that dpo-i1 has to do with the base, so their agreement has fallen as well.
    assert {"elo"} <= failed(decision) <= {"elo", "agreement"}
    assert "by reference" in decision.reasons[0]


def test_without_an_independent_judge_nothing_ships(tmp_path):
    raw = make_project(tmp_path / "clone")[0].model_dump(mode="json")
    raw["judges"]["content"] = {"kind": "rubric", "points": "content"}
    raw["evaluate"]["judges"] = ["rubric", "content"]
    params = parse_params(raw, "params.yaml")
    from arena_learning.registry.elo_difference import elo_check, fit_judge

    assert fit_judge(params) == ""
    check = elo_check("sft-i1", "base", "", {}, params)
    assert check.passed is False
    assert "rubric (teacher), content (alike)" in check.text


def test_the_judge_can_be_named_but_not_one_that_taught(tmp_path):
    params, _ = make_project(tmp_path / "clone", gate={"judge": "reference"})
    raw = params.model_dump(mode="json")
    raw["gate"]["judge"] = "rubric"
    with pytest.raises(ArenaError, match=r"gate.judge: the training learnt from 'rubric' \(sft-i1, dpo-i1\)"):
        parse_params(raw, "params.yaml")
    raw["gate"]["judge"] = "referenc"
    with pytest.raises(ArenaError, match="did you mean 'reference'"):
        parse_params(raw, "params.yaml")


def test_the_difference_is_the_leaderboards(project):
    params, paths = project
    gain = read_json(paths.leaderboard)["boards"]["reference"]["gain"]
    found = rating_difference(read_arena_battles(paths)["reference"], "base", "dpo-i1", params)
    assert (found.difference, found.lower, found.upper) == pytest.approx(
        (gain["difference"], gain["lower"], gain["upper"])
    )


def test_a_rollback_goes_to_the_champion_before_and_then_to_none(project):
    params, paths = project
    promote("sft-i1", params, paths)
    promote("dpo-i1", params, paths)
    assert roll_back("", paths).round == "sft-i1"
    assert champion_on_record(paths).round == "sft-i1"
    assert promote("dpo-i1", params, paths).accepted  # again: nothing was lost
    assert roll_back("base", paths).round == "base"
    assert champion_on_record(paths) is None
    with pytest.raises(ArenaError, match="no champion to roll back"):
        roll_back("", paths)
    kinds = [one.kind for one in read_decisions(paths.registry)]
    assert kinds == ["promote", "promote", "rollback", "promote", "rollback"]


def test_a_rollback_needs_the_promoted_weights(project):
    params, paths = project
    promote("sft-i1", params, paths)
    promote("dpo-i1", params, paths)
    write_weights(paths, "sft-i1", "trained again")
    with pytest.raises(ArenaError, match="does not hold the promoted weights"):
        roll_back("", paths)
    with pytest.raises(ArenaError, match="was no champion before dpo-i1"):
        roll_back("dpo-i1", paths)
    assert roll_back("base", paths).accepted


def test_a_champion_that_was_trained_again_is_not_compared_with(project):
    params, paths = project
    promote("sft-i1", params, paths)
    write_weights(paths, "sft-i1", "trained again")
    decision = promote("dpo-i1", params, paths)
    assert failed(decision) == {"champion"}
    assert "models/sft-i1 holds others" in decision.reasons[0]
    assert "rollback" in decision.reasons[0]


def test_a_champion_that_was_trained_again_is_not_shipped_in_its_name(project, monkeypatch):
    params, paths = project
    promote("sft-i1", params, paths)
    assert "Promoted 20" in model_card("sft-i1", "mit", params, paths)
    write_weights(paths, "sft-i1", "trained again")
    monkeypatch.chdir(paths.root)
    for command in (["serve"], ["export", "--to", "folder"]):
        error = CliRunner().invoke(cli, command).exception
        assert isinstance(error, ArenaError)
        assert "does not hold the champion's weights" in error.what
    card = model_card("sft-i1", "mit", params, paths)
    assert "with other weights" in card
    assert "Promoted 20" not in card


def test_the_stage_writes_the_comparison_and_decides_nothing(project):
    params, paths = project
    found = write_gate(params, paths)
    assert read_json(paths.gate) == found == compare_with_champion("dpo-i1", params, paths).figures()
    page = paths.gate_page.read_text(encoding="utf-8")
    assert "dpo-i1 beside base" in page
    assert "may be promoted" in page
    assert not paths.registry.exists()
    promote("dpo-i1", params, paths)
    assert "dpo-i1 is the champion since" in write_gate(params, paths)["note"]
    assert "nothing to compare" in paths.gate_page.read_text(encoding="utf-8")


def test_a_refused_comparison_is_on_the_page_with_its_reason(project):
    params, paths = project
    answer(project, cut=9)
    write_gate(params, paths)
    page = paths.gate_page.read_text(encoding="utf-8")
    assert "dpo-i1 would be refused" in page
    assert "+0.300, above the limit of 0.05" in page


def test_a_round_without_a_place_on_the_leaderboard_is_no_candidate(project):
    params, paths = project
    board = read_json(paths.leaderboard)
    del board["answers"]["dpo-i1"]
    write_json(paths.leaderboard, board)
    with pytest.raises(ArenaError, match="'dpo-i1' is not on the leaderboard"):
        promote("dpo-i1", params, paths)


def test_only_safetensors_are_promoted(project):
    params, paths = project
    (paths.model("sft-i1") / "model.safetensors").rename(paths.model("sft-i1") / "pytorch_model.bin")
    with pytest.raises(ArenaError, match="pickled weights"):
        promote("sft-i1", params, paths)


def test_a_torn_registry_is_an_error_with_its_place(project):
    params, paths = project
    promote("sft-i1", params, paths)
    content = read_json(paths.registry)
    content["decisions"][0]["when"] = "yesterday"
    write_json(paths.registry, content)
    with pytest.raises(ArenaError, match=r"registry.json, decision 1: when: .*\n  hint: restore it from git"):
        champion_on_record(paths)


def test_an_old_params_file_has_the_defaults(project):
    params, paths = project
    assert "gate" not in paths.params.read_text(encoding="utf-8")
    assert load_params(paths.params).gate == params.gate
    assert params.gate.name == "arena-learning"
    assert set(ROUNDS) == {"sft-i1", "dpo-i1"}


HARNESS = {
    "results": {
        "gsm8k": {
            "alias": "gsm8k",
            "exact_match,strict-match": 0.30,
            "exact_match_stderr,strict-match": 0.02,
        },
        "wikitext": {"word_perplexity,none": 20.0},
    },
    "higher_is_better": {"gsm8k": {"exact_match": True}, "wikitext": {"word_perplexity": False}},
}


def scored(project, **changed):
    """Let dpo-i1's scores differ from the base's, and compare."""
    import copy

    params, paths = project
    new = copy.deepcopy(HARNESS)
    new["results"]["gsm8k"]["exact_match,strict-match"] += changed.get("gsm8k", 0.0)
    new["results"]["wikitext"]["word_perplexity,none"] += changed.get("wikitext", 0.0)
    write_scores(paths, "base", HARNESS)
    write_scores(paths, "dpo-i1", new)
    checks = compare_with_champion("dpo-i1", params, paths).checks
    return {check.name: check.passed for check in checks if check.name.startswith("external")}


GSM8K, WIKITEXT = "external/gsm8k/exact_match/strict-match", "external/wikitext/word_perplexity"


@pytest.mark.parametrize(
    ("changed", "holds"),
    [
        ({}, (True, True)),
        ({"gsm8k": -0.02}, (True, True)),  # its own tolerance is 0.03
        ({"gsm8k": -0.04}, (False, True)),
        ({"wikitext": 0.005}, (True, True)),
        ({"wikitext": 0.5}, (True, False)),  # here less is better
        ({"wikitext": -5.0}, (True, True)),
    ],
)
def test_scores_of_a_harness_must_not_fall_beyond_their_tolerances(tmp_path, changed, holds):
    gate = {"external": {"file": "evals/{model}.json", "tolerances": {"gsm8k": 0.03}}}
    found = scored(make_project(tmp_path / "clone", gate=gate), **changed)
    assert found == dict(zip((GSM8K, WIKITEXT), holds, strict=True))


def test_missing_scores_are_a_reason_and_not_a_pass(tmp_path):
    params, paths = make_project(tmp_path / "clone", gate={"external": {"file": "evals/{model}.json"}})
    write_scores(paths, "base", {"gsm8k": 0.3, "mmlu": 0.4})
    decision = promote("dpo-i1", params, paths)
    assert failed(decision) == {"external"}
    assert "no scores of dpo-i1" in decision.reasons[0]
    write_scores(paths, "dpo-i1", {"gsm8k": 0.3})
    assert promote("dpo-i1", params, paths).reasons == ("mmlu: no score, of base 0.4",)
    write_scores(paths, "dpo-i1", [1])
    with pytest.raises(ArenaError, match="expected a JSON object of scores"):
        promote("dpo-i1", params, paths)


def test_the_file_of_scores_must_name_the_model_and_lie_in_the_project(tmp_path):
    params, paths = make_project(tmp_path / "clone")
    raw = params.model_dump(mode="json")
    raw["gate"]["external"]["file"] = "evals.json"
    with pytest.raises(ArenaError, match=r"needs \{model\} in its path"):
        parse_params(raw, "params.yaml")
    raw["gate"]["external"]["file"] = "../{model}.json"
    with pytest.raises(ArenaError, match="lies outside the project"):
        compare_with_champion("dpo-i1", parse_params(raw, "params.yaml"), paths)
