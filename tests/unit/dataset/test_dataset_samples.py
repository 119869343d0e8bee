"""Rows of the target's own samples: best against worst, or the best alone."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arena_learning.core import Paths
from arena_learning.dataset import make_dataset
from arena_learning.dataset.samples import choose_best_sample, choose_sample_pair
from arena_learning.dataset.select import Rules
from arena_learning.params import parse_params
from arena_learning.schema import PreferenceRow, SampleScore, SftRow, read_rows, write_rows

ROUND = {"index": 0, "split": "d1", "target": "t", "init": "base", "threshold": 2}


def scores(*values, name="i1", **fields):
    return [
        SampleScore(
            instruction_id=name,
            sample=k,
            judge="j",
            score=value,
            unscored="why" if value is None else None,
            rationales=(f"r{k}",) if value is not None else (),
            **fields,
        )
        for k, value in enumerate(values, 1)
    ]


@pytest.fixture
def choose(make_response):
    """Choose from samples with these scores; ``answers`` changes some of the samples."""

    def run(how, values, threshold=1.0, answers=None, max_words=0):
        said = {
            k: make_response("i1", "t", f"says {k}", sample=k).model_copy(update=(answers or {}).get(k, {}))
            for k in range(1, len(values) + 1)
        }
        rows = values if values and isinstance(values[0], SampleScore) else scores(*values)
        return how(rows, said, Rules(threshold, "samples", max_words, seed=4))

    return run


def numbers(choice):
    return choice.best.sample, choice.worst and choice.worst.sample, choice.gap


def test_the_best_is_paired_with_the_worst(choose):
    assert numbers(choose(choose_sample_pair, [3, 8, 1, 5])) == (2, 3, 7)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([], "no sample"),
        ([None, None], "unscored"),
        ([None, 5.0], "unscored"),
        ([5.0, 5.0, None], "tie"),
        ([5.0, 5.5], "gap below the threshold"),
    ],
)
def test_what_is_no_pair_has_its_reason(choose, values, reason):
    assert choose(choose_sample_pair, values) == reason


def test_a_gap_of_means_that_misses_the_threshold_by_the_last_bits_does_not_miss_it(choose):
    assert numbers(choose(choose_sample_pair, [16 / 3, 13 / 3]))[:2] == (1, 2)


def test_a_best_sample_that_must_not_be_learnt_gives_way_to_the_next(choose):
    cut = {"finish_reason": "length"}
    assert numbers(choose(choose_sample_pair, [9, 8, 1], answers={1: cut})) == (2, 3, 7)
    assert choose(choose_sample_pair, [9, 1.5, 1], answers={1: cut}) == "the best sample is cut off"
    assert choose(choose_sample_pair, [9, 8, 1], max_words=1) == "the best sample is too long"
    assert numbers(choose(choose_sample_pair, [9, 8, 1], answers={3: cut})) == (1, 3, 8)


def test_equal_scores_are_decided_by_the_battles_won_then_by_the_seed(choose):
    rows = scores(8, 8, 1)
    rows[1] = rows[1].model_copy(update={"battles": 3, "wins": 2.0})
    rows[0] = rows[0].model_copy(update={"battles": 3, "wins": 1.5})
    assert numbers(choose(choose_sample_pair, rows))[0] == 2
    first = [numbers(choose(choose_sample_pair, [8, 8, 1]))[0] for _ in range(2)]
    assert first[0] == first[1]


def test_two_samples_of_one_text_are_no_pair(choose):
    same = {"text": "says 1"}
    assert numbers(choose(choose_sample_pair, [8, 3, 2], answers={3: same})) == (1, 2, 5)


def test_the_best_alone_is_held_against_the_mean(choose):
    # The mean of 2, 4 and 9 is 5: the best is 4 above it.
    assert numbers(choose(choose_best_sample, [2, 4, 9], threshold=4)) == (3, None, 4)
    assert choose(choose_best_sample, [2, 4, 9], threshold=4.5) == "gap below the threshold"
    assert choose(choose_best_sample, [2, 4, 9], answers={3: {"text": " "}}) == "the best sample is empty"
    assert choose(choose_best_sample, [5, 5, 5], threshold=0) == "tie"
    assert choose(choose_best_sample, [5, None], threshold=0) == "unscored"


@pytest.fixture
def project(tmp_path, make_params, make_instruction, make_response):
    """A round of samples on these instructions, by their scores; returns its card, its rows and the paths."""

    def run(method, by_instruction, threshold=2.0, folder="p", **dataset):
        paths = Paths(tmp_path / folder)
        rounds = {"r1": {**ROUND, "method": method, "threshold": threshold}}
        opponents = {"x": {"engine": "recorded", "model": "x.jsonl"}}
        raw = make_params(
            rounds=rounds,
            opponents=opponents,
            battle={"samples": 4},
            dataset={"pairs": "samples", **dataset},
        )
        for path in (paths.sft("none"), paths.preferences("none"), paths.battles("r1")):
            write_rows(path, [])
        names = list(by_instruction)
        write_rows(paths.split("d1"), [make_instruction(i, f"Q {i}", category="c") for i in names])
        write_rows(paths.responses("r1"), [make_response(i, "t") for i in names])
        write_rows(
            paths.samples("r1"),
            [
                make_response(i, "t", f" {k} on {i} ", sample=k)
                for i, values in by_instruction.items()
                for k in range(1, len(values) + 1)
            ],
        )
        write_rows(
            paths.sample_scores("r1"),
            [row for i, values in by_instruction.items() for row in scores(*values, name=i)],
        )
        card = make_dataset("r1", parse_params(raw, "here"), paths)
        return card, read_rows(paths.sft("r1"), SftRow), read_rows(paths.preferences("r1"), PreferenceRow)

    return run


def test_a_pair_of_samples_tells_where_it_comes_from(project):
    card, sft, (row,) = project("dpo", {"i1": [3, 8, None, 1], "i2": [4, 4]})
    assert (row.chosen[0].content, row.rejected[0].content) == ("2 on i1", "4 on i1")
    told = row.provenance.model_dump(exclude_defaults=True)
    assert told == {
        "round": "r1",
        "instruction_id": "i1",
        "category": "c",
        "winner": "t",
        "loser": "t",
        "score_winner": 8.0,
        "score_loser": 1.0,
        "gap": 7.0,
        "threshold": 2.0,
        "judge": "j",
        "rationales": ("r2", "r4"),
        "winner_sample": 2,
        "loser_sample": 4,
    }
    assert sft == []
    assert (card["rows_new"], card["left_out"]) == (1, {"tie": 1})
    assert card["samples"] == {"scored": 5, "unscored": 1}
    assert (card["chosen_from"], card["target_chosen_share"]) == ({"t": 1}, 1.0)


def test_rft_learns_the_best_of_each_instruction(project):
    card, rows, pairs = project("rft", {"i1": [3, 8, 1], "i2": [4, 5]}, threshold=0)
    assert [r.completion[0].content for r in rows] == ["2 on i1", "2 on i2"]
    assert pairs == []
    told = rows[0].provenance
    assert (told.winner, told.loser, told.winner_sample, told.loser_sample) == ("t", "", 2, 0)
    assert (told.gap, card["rows_new"], card["mean_gap"]) == (4.0, 2, 2.25)
    card, rows, _ = project("rft", {"i1": [3, 8, 1], "i2": [4, 5]}, threshold=1, folder="q", pairs="all")
    assert [r.provenance.instruction_id for r in rows] == ["i1"]
    assert card["left_out"] == {"gap below the threshold": 1}


def test_most_rows_are_those_with_the_widest_gaps(project):
    card, _, pairs = project("ppo", {"i1": [3, 8], "i2": [1, 9]}, max_rows=1)
    assert [r.provenance.instruction_id for r in pairs] == ["i2"]
    assert card["left_out"] == {"beyond the most rows": 1}


half = st.none() | st.integers(2, 20).map(lambda n: n / 2)


@settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # each writes all files
@given(
    st.lists(st.lists(half, max_size=4), max_size=4),
    st.sampled_from(["rft", "dpo", "ppo"]),
    st.sampled_from([0, 1, 3]),
)
def test_the_card_accounts_for_every_instruction_and_sample(project, lists, method, threshold):
    card, sft, pairs = project(method, {f"i{n}": values for n, values in enumerate(lists)}, threshold)
    rows = [*sft, *pairs]
    assert card["instructions"] == len(lists) == card["rows_new"] + sum(card["left_out"].values())
    assert len(rows) == card["rows_new"]
    given_scores = sum(map(len, lists))
    counted = card.get("samples", {"scored": 0, "unscored": 0})
    assert counted["scored"] + counted["unscored"] == given_scores
    for row in rows:
        own = [v for v in lists[int(row.provenance.instruction_id[1:])] if v is not None]
        assert row.provenance.score_winner == max(own)
        assert row.provenance.gap >= threshold
        assert method == "rft" or row.provenance.score_loser == min(own) < max(own)
