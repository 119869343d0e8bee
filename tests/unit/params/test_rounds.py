from __future__ import annotations

import pytest

from arena_learning.core.errors import ArenaError
from arena_learning.params import parse_params
from arena_learning.params.rounds import check_round_name, check_rounds, shared_criteria

SIZES = {f"d{n}": 4 for n in range(10)}
CHAIN = {
    "sft-i1": {
        "index": 1,
        "method": "sft",
        "split": "d1",
        "target": "base",
        "init": "base",
        "threshold": 3.0,
    },
    "dpo-i1": {
        "index": 2,
        "method": "dpo",
        "split": "d2",
        "target": "sft-i1",
        "init": "sft-i1",
        "threshold": 2.0,
    },
    "sft-i2": {
        "index": 4,
        "method": "sft",
        "split": "d4",
        "target": "dpo-i1",
        "init": "base",
        "threshold": 1,
        "adds_to": "sft-i1",
    },
}


def check(make_params, changes, **sections):
    rounds = {name: {**CHAIN.get(name, {}), **changes.get(name, {})} for name in {**CHAIN, **changes}}
    raw = make_params(pool={"splits": SIZES, "test": 4}, rounds=rounds, **sections)
    check_rounds(parse_params(raw, "params.yaml"))


def refusal(make_params, changes, **sections) -> str:
    with pytest.raises(ArenaError) as caught:
        check(make_params, changes, **sections)
    assert caught.value.where == "params.yaml"
    return str(caught.value)


def test_the_papers_ten_rounds_are_sound(make_params):
    rounds = {
        "sft-i0": {"method": "sft", "split": "d0", "target": "none", "labels": "expert", "init": "base"}
    }
    for i in (1, 2, 3):
        last, earlier = f"ppo-i{i - 1}", {m: f"{m}-i{i - 1}" for m in ("sft", "dpo", "ppo")}
        target = "sft-i0" if i == 1 else last
        adds = {m: "none" if i == 1 and m != "sft" else earlier[m] for m in earlier}
        rounds[f"sft-i{i}"] = {"method": "sft", "target": target, "init": "base", "adds_to": adds["sft"]}
        rounds[f"dpo-i{i}"] = {
            "method": "dpo",
            "target": f"sft-i{i}",
            "init": f"sft-i{i}",
            "adds_to": adds["dpo"],
        }
        rounds[f"ppo-i{i}"] = {
            "method": "ppo",
            "target": f"dpo-i{i}",
            "init": f"dpo-i{i}",
            "adds_to": adds["ppo"],
        }
    whole = {
        name: {**r, "index": n, "split": f"d{n}", "threshold": 1}
        for n, (name, r) in enumerate(rounds.items())
    }
    check_rounds(parse_params(make_params(pool={"splits": SIZES, "test": 4}, rounds=whole), "params.yaml"))


def test_supervised_training_may_start_from_an_earlier_round(make_params):
    check(make_params, {"sft-i2": {"init": "dpo-i1"}})


@pytest.mark.parametrize("field", ["target", "init", "adds_to"])
def test_a_reference_to_nothing_gets_a_suggestion(make_params, field):
    said = refusal(make_params, {"sft-i2": {field: "sft-1i"}})
    assert f"rounds.sft-i2.{field}: no model 'sft-1i'; did you mean 'sft-i1'?" in said


def test_training_from_nothing_is_refused(make_params):
    assert "rounds.sft-i2.init: no model 'none'" in refusal(make_params, {"sft-i2": {"init": "none"}})


def test_a_reference_to_a_later_round_is_refused(make_params):
    said = refusal(make_params, {"sft-i1": {"init": "dpo-i1"}, "dpo-i1": {"target": "base", "init": "base"}})
    assert "rounds.sft-i1.init: 'dpo-i1' is not earlier (index 2, this round has 1)" in said
    assert "cycle" not in said


def test_a_cycle_is_shown_as_one(make_params):
    said = refusal(make_params, {"sft-i1": {"target": "sft-i2"}})
    # sft-i2 fights with dpo-i1, which starts from sft-i1, which fights with sft-i2
    assert "a cycle" in said
    assert "rounds.sft-i1.target: 'sft-i2' is not earlier" in said


def test_a_round_that_refers_to_itself_is_refused(make_params):
    assert "'dpo-i1' is not earlier" in refusal(make_params, {"dpo-i1": {"target": "dpo-i1"}})


def test_an_index_used_twice_is_refused(make_params):
    said = refusal(make_params, {"sft-i2": {"index": 2}})
    assert "rounds.sft-i2.index: 2 is already used by dpo-i1" in said


def test_a_split_used_twice_is_refused(make_params):
    assert "rounds.sft-i2.split: d1 is already used by sft-i1" in refusal(
        make_params, {"sft-i2": {"split": "d1"}}
    )


@pytest.mark.parametrize("split", ["test", "validation", "none", "d11"])
def test_only_training_splits_are_learnt_from(make_params, split):
    said = refusal(make_params, {"sft-i2": {"split": split}})
    assert f"rounds.sft-i2.split: no training split '{split}'" in said


@pytest.mark.parametrize("size", [{}, {"d4": 0}])
def test_a_split_without_instructions_is_refused(make_params, size):
    sizes = {name: n for name, n in SIZES.items() if name != "d4"} | size
    raw = make_params(pool={"splits": sizes, "test": 4}, rounds=CHAIN)
    with pytest.raises(ArenaError, match=r"rounds.sft-i2.split: d4 has no instructions"):
        check_rounds(parse_params(raw, "params.yaml"))


def test_rows_are_only_added_to_rows_of_the_same_method(make_params):
    said = refusal(make_params, {"sft-i2": {"adds_to": "dpo-i1"}})
    assert "rounds.sft-i2.adds_to: sft cannot add to the rows of 'dpo-i1', which is dpo" in said
    ppo = {
        "index": 5,
        "method": "ppo",
        "split": "d5",
        "target": "dpo-i1",
        "init": "dpo-i1",
        "threshold": 1,
        "adds_to": "dpo-i1",
    }
    assert "ppo cannot add to the rows of 'dpo-i1'" in refusal(make_params, {"ppo-i1": ppo})


def test_labels_and_target_exclude_each_other_and_one_is_needed(make_params):
    assert "labels: 'expert' is given beside the target" in refusal(
        make_params, {"sft-i1": {"labels": "expert"}}
    )
    assert "with neither target nor labels" in refusal(make_params, {"sft-i1": {"target": "none"}})
    assert "dpo learns from battles" in refusal(
        make_params, {"dpo-i1": {"target": "none", "labels": "expert"}}
    )
    said = refusal(make_params, {"sft-i1": {"target": "none", "labels": "expart"}})
    assert "no opponent 'expart'; did you mean 'expert'?" in said


JUDGES = {
    "rubric": {"kind": "rubric"},
    "content": {"kind": "rubric", "points": "content"},
    "reference": {"kind": "reference"},
    "longer": {"kind": "longer"},
    "told": {"kind": "replay", "model": "verdicts.jsonl"},
    "panel": {"kind": "jury", "members": ["rubric", "content"]},
    "votes": {"kind": "jury", "members": ["rubric", "content"], "combine": "majority"},
    "record": {"kind": "jury", "members": ["reference", "told"]},
}


def online(make_params, over, method="rloo", **settings):
    """Check the chain with a round by a judge's word at its end."""
    last = {
        "index": 5,
        "method": method,
        "split": "d5",
        "target": "sft-i2",
        "init": "sft-i2",
        "threshold": 0,
        **over,
    }
    told = {"judge": "rubric", "monitor": "reference", **settings}
    check(make_params, {"rl-i2": last}, judges=JUDGES, train={method: told})


@pytest.mark.parametrize("method", ["rloo", "grpo"])
@pytest.mark.parametrize(
    ("over", "settings", "said"),
    [
        (
            {},
            {"judge": ""},
            "METHOD needs a judge that rewards its answers; name one in train.METHOD.judge: rubric,",
        ),
        (
            {},
            {"monitor": ""},
            "METHOD needs a second judge as a monitor; name one in train.METHOD.monitor: rubric,",
        ),
        (
            {},
            {"monitor": "rubric"},
            "train.METHOD.monitor is 'rubric', which gives the reward; name another judge",
        ),
        ({}, {"judge": "rubrik"}, "no judge 'rubrik' in judges (train.METHOD.judge); did you mean 'rubric'?"),
        ({}, {"monitor": "told"}, "'told' only has recorded verdicts, none on new answers"),
        (
            {},
            {"monitor": "record"},
            "train.METHOD.monitor 'told' only has recorded verdicts, none on new answers",
        ),
        (
            {},
            {"judge": "panel", "monitor": "rubric"},
            "'panel' and train.METHOD.monitor 'rubric' share the member 'rubric'",
        ),
        (
            {},
            {"judge": "panel", "monitor": "votes"},
            "'panel' and train.METHOD.monitor 'votes' share the member 'rubric'",
        ),
        (
            {"target": "none"},
            {"judge": "votes"},
            "target: the judge 'votes' compares answers with those of the opponents",
        ),
        ({"adds_to": "sft-i2"}, {}, "adds_to: METHOD does not train on rows"),
        ({"target": "none", "labels": "expert"}, {}, "labels: METHOD does not train on labels"),
        (
            {"target": "none"},
            {"reward": "win_rate"},
            "target: the judge 'rubric' compares answers with those of the opponents",
        ),
        (
            {"target": "none"},
            {"monitor": "longer"},
            "target: the monitor 'longer' compares answers with those of the opponents",
        ),
    ],
)
def test_a_round_by_a_judges_word_names_two_judges_and_has_whom_they_need(
    make_params, method, over, settings, said
):
    online(make_params, {}, method)
    with pytest.raises(ArenaError) as caught:
        online(make_params, over, method, **settings)
    assert said.replace("METHOD", method) in str(caught.value)


def test_a_round_by_a_judges_word_may_do_without_battles(make_params):
    online(make_params, {"target": "none"})
    online(make_params, {"target": "none"}, judge="panel")
    online(make_params, {"target": "none"}, monitor="longer", against="group")
    online(make_params, {"target": "none"}, reward="win_rate", against="group")


def test_a_round_that_samples_while_it_trains_draws_none_before(make_params):
    chain = {
        name: CHAIN["dpo-i1"] | {"method": name, "index": n} for n, name in enumerate(("dpo", "rloo", "grpo"))
    }
    raw = make_params(rounds=chain, dataset={"pairs": "samples"}, battle={"samples": 4})
    params = parse_params(raw, "params.yaml")
    assert [params.samples_of(name) for name in chain] == [4, 0, 0]


def test_two_judges_that_read_the_same_rubrics_are_told_apart(make_params):
    chain = {
        **CHAIN,
        "rl-i2": CHAIN["sft-i2"] | {"index": 5, "split": "d5", "method": "grpo", "adds_to": "none"},
    }

    def shared(monitor, judge="rubric"):
        train = {"grpo": {"judge": judge, "monitor": monitor}}
        raw = make_params(pool={"splits": SIZES, "test": 4}, rounds=chain, judges=JUDGES, train=train)
        params = parse_params(raw, "params.yaml")
        return shared_criteria(params.rounds["rl-i2"], params)

    assert shared("content")
    assert not shared("reference")
    assert not shared("reference", "panel")


def test_a_battle_needs_an_opponent(make_params):
    assert "rounds.sft-i1.target: no opponent has joined by this round" in refusal(
        make_params, {}, opponents={}
    )


def test_all_problems_are_reported_at_once(make_params):
    said = refusal(make_params, {"sft-i1": {"split": "d2", "init": "bass"}, "sft-i2": {"adds_to": "dpo-i1"}})
    assert [line.split(":")[0].strip() for line in said.splitlines()[1:]] == [
        "rounds.dpo-i1.split",
        "rounds.sft-i1.init",
        "rounds.sft-i2.adds_to",
    ]


def test_an_unknown_round_gets_a_suggestion(make_params):
    params = parse_params(make_params(), "params.yaml")
    check_round_name("sft-i1", params)
    with pytest.raises(ArenaError, match="did you mean 'sft-i1'"):
        check_round_name("sft-l1", params)


RFT = {"rft-i1": {**CHAIN["dpo-i1"], "index": 3, "method": "rft", "split": "d3"}}


def test_a_round_that_learns_the_best_sample_needs_samples(make_params):
    said = refusal(make_params, RFT)
    assert (
        "rounds.rft-i1.method: rft learns the best of the target's samples, and battle.samples is 1" in said
    )
    check(make_params, RFT, battle={"samples": 2})


def test_a_round_that_learns_from_samples_needs_no_opponents(make_params):
    late = {"expert": {"engine": "recorded", "model": "expert.jsonl", "joins": 9}}
    alone = {name: {"target": "none", "labels": "expert"} for name in ("sft-i1", "sft-i2")}
    check(make_params, {**RFT, **alone}, battle={"samples": 2}, dataset={"pairs": "samples"}, opponents=late)
    said = refusal(make_params, {**RFT, **alone}, battle={"samples": 2}, opponents=late)
    assert "rounds.dpo-i1.target: no opponent has joined" in said
    assert "rft-i1" not in said


def test_a_batch_that_the_processes_cannot_share_is_found_before_anything_runs(make_params):
    launch = {"kind": "accelerate", "processes": 3}
    said = refusal(
        make_params, {}, train={"launch": launch, "sft": {"batch_size": 8}, "dpo": {"batch_size": 9}}
    )
    assert "train.sft.batch_size: 8 rows cannot be divided among 3 processes" in said
    assert "train.dpo" not in said
    assert "train.ppo" not in said  # no round uses it
    alone = {"kind": "inprocess"}
    check(make_params, {}, train={"launch": launch, "sft": {"launch": alone}, "dpo": {"batch_size": 9}})


def test_who_gives_labels_alone_is_no_contestant(make_params):
    opponents = {
        "expert": {"engine": "recorded", "model": "expert.jsonl"},
        "human": {"engine": "recorded", "model": "human.jsonl", "role": "labels"},
    }
    raw = make_params(pool={"splits": SIZES, "test": 4}, rounds={}, opponents=opponents)
    raw["rounds"]["sft-i1"] = CHAIN["sft-i1"]
    params = parse_params(raw, "params.yaml")
    assert params.contestants == ["base", "expert", "sft-i1"]
    assert params.joining == [["base", "expert"], ["sft-i1"]]
    assert params.opponents_of("sft-i1") == ["expert"]
    raw["dataset"] = {"opponents": ["human"]}
    with pytest.raises(ArenaError, match="'human' has role labels and battles nobody"):
        parse_params(raw, "params.yaml")
    raw["dataset"] = {}
    raw["evaluate"] = {"anchor": "human"}
    with pytest.raises(ArenaError, match=r"evaluate.anchor: no contestant 'human'"):
        parse_params(raw, "params.yaml")


def test_a_judge_of_a_jury_that_chose_the_rows_is_a_teacher(make_params):
    params = parse_params(make_params(judges=JUDGES, judge={"name": "panel"}), "params.yaml")
    assert params.teachers() == {name: ["sft-i1", "dpo-i1"] for name in ("panel", "rubric", "content")}
    assert params.single_judges("panel") == ["rubric", "content"]
    assert params.single_judges("rubric") == ["rubric"]


def test_without_a_base_model_there_are_only_opponents_and_no_round_starts_from_a_base(make_params):
    raw = make_params(weights={"source": "none"}, rounds={}, evaluate={"anchor": "expert"})
    params = parse_params(raw, "params.yaml")
    check_rounds(params)
    assert not params.has_base
    assert params.contestants == ["expert"]
    assert params.joining == [["expert"]]
    assert params.compared == ("expert", "expert")
    said = refusal(make_params, {}, weights={"source": "none"}, evaluate={"anchor": "expert"})
    assert "rounds.sft-i1.target: no model 'base' (weights.source is none)" in said
    assert "rounds.sft-i1.init: no model 'base' (weights.source is none)" in said
    with pytest.raises(ArenaError, match=r"evaluate\.anchor: no contestant 'base'"):
        parse_params(make_params(weights={"source": "none"}, rounds={}), "params.yaml")
