from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from arena_learning.core.errors import ArenaError
from arena_learning.params import load_params, parse_params
from arena_learning.params.training import PreferenceLoss


def refusal(raw) -> str:
    with pytest.raises(ArenaError) as caught:
        parse_params(raw, "params.yaml")
    return str(caught.value)


def test_the_shipped_parameters_are_valid():
    params = load_params(Path(__file__).parents[3] / "params.yaml")
    assert params.contestants[0] == "base"


def test_rounds_are_ordered_by_index_whatever_their_order_in_the_file(make_params):
    raw = make_params()
    raw["rounds"] = dict(reversed(raw["rounds"].items()))
    assert parse_params(raw, "here").ordered_rounds == ["sft-i1", "dpo-i1"]


def test_all_errors_are_reported_at_once_each_with_its_place(make_params):
    raw = make_params(seed="many", battel={}, serving={"engine": "opnvino"})
    raw["rounds"]["sft-i1"]["treshold"] = 2
    raw["rounds"]["dpo-i1"]["threshold"] = 12
    said = refusal(raw)
    assert "seed: " in said
    assert "(it is 'many')" in said
    assert "battel: unknown key; did you mean 'battle'?" in said
    assert "serving.engine: " in said
    assert "rounds.sft-i1.treshold: unknown key; did you mean 'threshold'?" in said
    assert "rounds.dpo-i1.threshold: " in said
    assert "(it is 12)" in said


def test_a_misspelt_key_deep_down_gets_the_keys_of_its_own_section(make_params):
    said = refusal(make_params(train={"ppo": {"reward": {"epoch": 2}}}))
    assert "train.ppo.reward.epoch: unknown key; did you mean 'epochs'?" in said
    assert "kl" not in said
    said = refusal(
        make_params(opponents={"expert": {"engine": "recorded", "model": "x", "sampling": {"topp": 1}}})
    )
    assert "did you mean 'top_p'?" in said


def test_an_item_named_like_a_key_does_not_mislead_the_suggestion(make_params):
    raw = make_params(judges={"rubric": {"kind": "rubric"}, "seed": {"kind": "rubric", "pionts": "all"}})
    assert "judges.seed.pionts: unknown key; did you mean 'points'?" in refusal(raw)


def test_an_unknown_judge_or_anchor_gets_a_suggestion(make_params):
    raw = make_params(
        judge={"name": "rubrik"}, evaluate={"judges": ["rubric", "refrence"], "anchor": "sft-i2"}
    )
    said = refusal(raw)
    assert "judge.name: no judge 'rubrik'; did you mean 'rubric'?" in said
    assert "evaluate.judges: no judge 'refrence'" in said
    assert "evaluate.anchor: no contestant 'sft-i2'; did you mean 'sft-i1'?" in said


def test_reserved_and_doubled_names_are_refused(make_params):
    raw = make_params()
    raw["rounds"] |= {"none": raw["rounds"]["sft-i1"], "expert": raw["rounds"]["sft-i1"]}
    raw["opponents"]["base"] = raw["opponents"]["expert"]
    said = refusal(raw)
    assert "opponents.base: this name is reserved" in said
    assert "rounds.none: this name is reserved" in said
    assert "rounds.expert: an opponent has this name" in said


def test_an_unknown_split_gets_a_suggestion(make_params):
    assert "unknown split 'd10'; did you mean 'd1'?" in refusal(
        make_params(pool={"splits": {"d10": 4}, "test": 4})
    )


def test_a_language_model_judge_needs_a_model(make_params):
    raw = make_params(judges={"rubric": {"kind": "llm", "engine": "transformers"}})
    assert "needs 'engine' and 'model'" in refusal(raw)


@pytest.mark.parametrize("name", ["../up", "a b", "-x", "", "{{x}}"])
def test_a_name_that_could_leave_its_folder_is_refused(make_params, name):
    raw = make_params()
    raw["rounds"][name] = raw["rounds"].pop("dpo-i1")
    refusal(raw)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, "much"])
def test_a_threshold_that_is_no_gap_is_refused(make_params, value):
    raw = make_params()
    raw["rounds"]["sft-i1"]["threshold"] = value
    assert "rounds.sft-i1.threshold" in refusal(raw)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [", "not YAML"),
        ("- a", "expected a mapping"),
        ("", "expected a mapping"),
        pytest.param("[" * 3000, "nested too deeply", id="deep"),
        ("a: &a [*a]", "an alias"),
        ("a: &a {b: {c: *a}}", "an alias"),
    ],
)
def test_a_file_that_is_no_mapping_is_named(tmp_path, text, problem):
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ArenaError, match=problem) as caught:
        load_params(tmp_path / "params.yaml")
    assert "params.yaml" in caught.value.where


def test_a_key_given_twice_is_refused_and_not_the_last_one_taken(tmp_path):
    (tmp_path / "params.yaml").write_text("seed: 1\nweights: {source: x}\nseed: 2\n", encoding="utf-8")
    with pytest.raises(ArenaError, match="'seed' is given twice") as caught:
        load_params(tmp_path / "params.yaml")
    assert caught.value.where.endswith("params.yaml, line 3")


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(ArenaError, match="arena init"):
        load_params(tmp_path / "params.yaml")


def test_a_misspelt_word_of_a_list_gets_a_suggestion(make_params):
    said = refusal(make_params(train={"dpo": {"loss": "apo_zerro"}}, battle={"mode": "taget"}))
    assert "train.dpo.loss: Input should be 'sigmoid', " in said
    assert "; did you mean 'apo_zero'? (it is 'apo_zerro')" in said
    assert "; did you mean 'target'?" in said
    assert "did you mean" not in refusal(make_params(train={"dpo": {"loss": "qqq"}}))


def test_every_loss_is_one_that_trl_knows():
    from trl import DPOConfig

    told = DPOConfig.__dataclass_fields__["loss_type"].metadata["help"]
    assert [name for name in get_args(PreferenceLoss) if f"'{name}'" not in told] == []


def test_label_smoothing_is_refused_where_it_would_change_nothing(make_params):
    said = refusal(make_params(train={"dpo": {"label_smoothing": 0.1}}))
    assert "label_smoothing changes nothing under the loss sigmoid" in said
    parse_params(make_params(train={"dpo": {"loss": "robust", "label_smoothing": 0.1}}), "here")
    assert "exo_pair needs a label_smoothing" in refusal(make_params(train={"dpo": {"loss": "exo_pair"}}))


def test_pairs_of_samples_need_samples(make_params):
    assert "battle.samples is 1; set it to 2" in refusal(make_params(dataset={"pairs": "samples"}))
    params = parse_params(make_params(dataset={"pairs": "samples"}, battle={"samples": 2}), "here")
    assert (params.samples_of("dpo-i1"), params.samples_of("sft-i1")) == (2, 0)


def test_recorded_verdicts_cannot_rank_samples(make_params):
    raw = make_params(judges={"rubric": {"kind": "replay", "model": "verdicts.jsonl"}}, battle={"samples": 2})
    parse_params(raw, "here")
    assert "judge.name: 'rubric' has recorded verdicts alone" in refusal(
        {**raw, "dataset": {"pairs": "samples"}}
    )
