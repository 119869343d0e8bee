"""Strategies of selection: which rows each takes, the same number of rows, and whose answers they learn."""

from __future__ import annotations

import pytest

from arena_learning.core import ArenaError
from arena_learning.core.paths import Paths
from arena_learning.dataset import make_dataset, select_rows
from arena_learning.dataset.select import Rules
from arena_learning.dataset.strategy import LearntAnswer, StrategySources, instruction_tags, strategy_order
from arena_learning.params import Round, parse_params
from arena_learning.schema import SftRow, read_rows, write_rows

SFT = Round(index=0, method="sft", split="d1", target="t", init="base", threshold=2)
IDS = [f"i{n}" for n in range(8)]


@pytest.fixture
def split(make_instruction, make_response, make_battle):
    """Eight instructions: x beats the target by 1, 2, ... 6 on the first six and loses the rest; y always has 2."""
    asked = [make_instruction(i, f"Question {i}", category="c") for i in IDS]
    said = [make_response(i, c, f"{c} on {i}" + " more" * n) for n, i in enumerate(IDS) for c in "txy"]
    scores = [4, 5, 6, 7, 8, 9, 2, 1]
    battles = [make_battle("t", 3, "x", score, i) for i, score in zip(IDS, scores, strict=True)]
    battles += [make_battle("t", 3, "y", 2, i) for i in IDS]
    return asked, said, battles


@pytest.fixture
def select(split):
    def run(this=SFT, **rules):
        return select_rows("r1", this, *split, Rules(this.threshold, "all", 0, 0)._replace(**rules))

    return run


def learnt(found):
    return [
        (row.provenance.instruction_id, row.provenance.winner) for row in (*found.sft, *found.preferences)
    ]


def test_battles_take_the_widest_gaps_within_the_budget(select):
    assert [i for i, _ in learnt(select())] == ["i1", "i2", "i3", "i4", "i5"]  # gaps of 2 and more
    found = select(budget=3)
    assert [i for i, _ in learnt(found)] == ["i3", "i4", "i5"]
    assert found.outcomes["i1"] == "beyond the most rows"
    assert found.outcomes["i7"] == "the target won"
    assert found.wanted == 3


def test_other_strategies_take_as_many_rows_as_battles_and_know_no_threshold(select):
    found = select(strategy="length")
    assert found.wanted == 5  # as many as battles
    assert [i for i, _ in learnt(found)] == ["i3", "i4", "i5", "i6", "i7"]  # the longest answers
    assert {found.outcomes[i] for i in ("i0", "i1", "i2")} == {"not chosen by length"}
    assert select(strategy="length", budget=2).wanted == 2


def test_where_battles_give_no_row_no_other_strategy_does(select):
    hard = SFT.model_copy(update={"threshold": 9})
    for most in (0, 2):
        found = select(hard, strategy="random", max_rows=most)
        assert (learnt(found), found.wanted) == ([], 0)


def test_the_most_rows_hold_for_every_strategy(select):
    assert len(learnt(select(strategy="random", budget=5, max_rows=2))) == 2


def test_the_best_opponent_is_learnt_where_the_target_won(select):
    # On i6 x has 2 and y has 2: the seed decides; on i7 y has 2 and x has 1.
    assert dict(learnt(select(strategy="all")))["i7"] == "y"
    assert dict(learnt(select(strategy="all")))["i5"] == "x"
    row = next(row for row in select(strategy="all").sft if row.provenance.instruction_id == "i7")
    assert (row.provenance.loser, row.provenance.gap, row.provenance.threshold) == ("t", -1.0, 0.0)


def test_named_answers_change_the_answers_and_not_the_instructions(select):
    lost = select(budget=3)
    named = select(budget=3, answers="y")
    assert [i for i, _ in learnt(named)] == [i for i, _ in learnt(lost)]
    assert {who for _, who in learnt(named)} == {"y"}
    assert [row.completion[0].content.split()[0] for row in named.sft] == ["y", "y", "y"]
    # y lost by 1 on each of them.
    assert {row.provenance.gap for row in named.sft} == {-1.0}
    assert {who for _, who in learnt(select(strategy="random", answers="x"))} == {"x"}


def test_all_has_no_budget_and_random_depends_on_the_seed_alone(split, select):
    assert len(learnt(select(strategy="all", budget=2))) == 8
    asked, said, battles = split
    rules = Rules(2, "all", 0, 0, strategy="random", budget=4)
    one, other, again = (
        [
            i
            for i, _ in learnt(
                select_rows("r1", SFT, order, said, battles, rules, sources=StrategySources(seed))
            )
        ]
        for order, seed in ((asked, 1), (asked, 2), (asked[::-1], 1))
    )
    assert one == again != other
    assert len(one) == 4


def test_pairs_are_chosen_by_a_strategy_too(select):
    dpo = SFT.model_copy(update={"method": "dpo"})
    assert [i for i, _ in learnt(select(dpo, strategy="length", budget=2))] == ["i6", "i7"]
    assert dict(learnt(select(dpo, strategy="all")))["i7"] == "t"  # the target's own answer, chosen over x's


def test_a_round_of_labels_takes_all_of_them(select):
    labels = SFT.model_copy(update={"target": "none", "labels": "y"})
    assert len(learnt(select(labels, strategy="random", budget=2))) == 8


def test_fewer_rows_than_wanted_are_said(select, caplog):
    assert len(learnt(select(budget=7))) == 5
    assert "r1: strategy battles was to choose 7 rows, and there are 5" in caplog.text
    assert len(learnt(select(strategy="random", budget=9))) == 8
    assert "strategy random was to choose 9 rows, and there are 8" in caplog.text


def rows_of(make_instruction, *texts, category="c"):
    return [
        LearntAnswer(make_instruction(f"i{n}", text, category=category), "answer")
        for n, text in enumerate(texts)
    ]


def test_tags_are_words_that_some_instructions_share(make_instruction):
    asked = [row.instruction for row in rows_of(make_instruction, "red fish", "red bird", "the dog")]
    assert instruction_tags(asked) == {
        "i0": {"category c", "red"},
        "i1": {"category c", "red"},
        "i2": {"category c"},
    }


def test_by_tags_the_richest_comes_first_and_each_adds_a_tag(make_instruction):
    # Shared by two: alpha, beta, gamma. i0 has all three; i1, i2 and i3 have one each and add nothing until the next turn.
    rows = rows_of(make_instruction, "alpha beta gamma", "alpha", "beta", "gamma", "lone")
    order = strategy_order("tags", rows, 3, StrategySources())
    assert order[0] == "i0"
    assert set(order[1:4]) == {"i1", "i2", "i3"}
    assert order[4] == "i4"


@pytest.mark.torch
def test_kmeans_takes_one_of_each_cluster_before_a_second(make_instruction):
    cooking = ("How do I bake bread?", "How do I boil an egg?", "How do I fry an onion?")
    stars = ("How far is the Moon?", "How far is Mars?", "How far is Jupiter?")
    order = strategy_order("kmeans", rows_of(make_instruction, *cooking, *stars), 2, StrategySources(seed=1))
    assert sorted(order) == [f"i{n}" for n in range(6)]
    topics = [int(name[1:]) < 3 for name in order]
    assert topics[0] != topics[1]
    assert topics[2] != topics[3]


def test_ifd_without_weights_says_so(make_instruction):
    with pytest.raises(ArenaError, match="needs the target's weights"):
        strategy_order("ifd", rows_of(make_instruction, "a"), 1, StrategySources())


def test_the_card_says_how_rows_were_chosen(tmp_path, make_params, split):
    paths = Paths(tmp_path)
    for path in (paths.sft("none"), paths.preferences("none")):
        write_rows(path, [])
    for path, rows in zip(
        (paths.split("d1"), paths.responses("r1"), paths.battles("r1")), split, strict=True
    ):
        write_rows(path, rows)
    opponents = {name: {"engine": "recorded", "model": f"{name}.jsonl"} for name in "xy"}

    def card(**dataset):
        raw = make_params(rounds={"r1": SFT.model_dump()}, opponents=opponents, dataset=dataset, seed=4)
        return make_dataset("r1", parse_params(raw, "here"), paths)

    assert "selection" not in card()
    found = card(strategy="random", answers="x", budget=3)
    assert found["selection"] == {"strategy": "random", "answers": "x", "wanted": 3, "seed": 4}
    assert (found["rows"], found["left_out"]) == (3, {"not chosen by random": 5})
    assert found["chosen_from"] == {"x": 3}
    assert len(read_rows(paths.sft("r1"), SftRow)) == 3


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ({"strategy": "luck"}, "dataset.strategy"),
        ({"answers": "expret"}, "no opponent 'expret'"),
        ({"answers": "quiet"}, "'quiet' has role labels"),
        ({"budget": -1}, "dataset.budget"),
    ],
)
def test_bad_parameters_are_refused(make_params, dataset, message):
    opponents = {
        "expert": {"engine": "recorded", "model": "e.jsonl"},
        "quiet": {"engine": "recorded", "model": "q.jsonl", "role": "labels"},
    }
    with pytest.raises(ArenaError, match=message):
        parse_params(make_params(opponents=opponents, dataset=dataset), "here")
