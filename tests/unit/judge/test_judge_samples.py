"""Ranking samples: one game each under a judge of single answers, a bounded schedule under one that compares."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import WordCountJudge

from arena_learning.core import Paths, read_json
from arena_learning.judge import judge_round
from arena_learning.judge.base import is_pointwise
from arena_learning.judge.length_baseline import LengthBaselineJudge
from arena_learning.judge.reference import ReferenceJudge
from arena_learning.judge.reward import RewardJudge
from arena_learning.judge.rubric import RubricJudge
from arena_learning.judge.samples import meetings, plan_samples, sample_figures, score_samples
from arena_learning.params import parse_params
from arena_learning.schema import Response, SampleScore, read_rows, write_rows
from arena_learning.store import Store


class Single(WordCountJudge):
    """Scores one answer whatever stands beside it."""

    pointwise = True


@pytest.fixture
def rank(tmp_path, make_instruction, make_response):
    """Score samples of one instruction by their texts."""

    def run(judge, texts, others=0, **how):
        instructions = {"i1": make_instruction("i1")}
        samples = [
            make_response("i1", "t", text, sample=k, **how.get("ends", {}).get(k, {}))
            for k, text in enumerate(texts, 1)
        ]
        plan = plan_samples(samples, judge, others, seed=3)
        with Store(tmp_path / "store.sqlite") as store:
            scored = score_samples(
                plan, instructions, judge, store, disagree=how.get("disagree", "average"), max_refused=0.05
            )
        assert plan.games == len(scored.played.games)
        return scored

    return run


def test_which_judges_score_one_answer_by_itself():
    assert RubricJudge.pointwise
    assert ReferenceJudge.pointwise
    assert RewardJudge.pointwise
    assert not is_pointwise(LengthBaselineJudge())  # it shares points out between two


def test_a_judge_of_single_answers_is_asked_once_a_sample(rank):
    judge = Single()
    scored = rank(judge, ["one", "one two three", "nonsense", "one two"])
    assert [(s.sample, s.score, s.unscored) for s in scored.scores] == [
        (1, 1.0, None),
        (2, 3.0, None),
        (3, None, "nonsense"),
        (4, 2.0, None),
    ]
    assert len(judge.presented) == 4
    assert all(p.first == p.second for p in judge.presented)
    assert scored.played.battles == []
    assert [s.battles for s in scored.scores] == [0, 0, 0, 0]


def test_a_text_that_was_drawn_twice_is_judged_once(rank):
    judge = Single()
    scored = rank(judge, ["one two", "one", "one two"])
    assert [s.score for s in scored.scores] == [2.0, 1.0, 2.0]
    assert len(judge.presented) == 2


def test_samples_that_all_say_the_same_have_no_order_where_answers_are_compared(rank):
    judge = WordCountJudge()
    scored = rank(judge, ["same", "same"])
    assert judge.presented == []
    assert [(s.score, s.unscored) for s in scored.scores] == [(None, "its samples all say the same")] * 2


def test_a_comparing_judge_gives_the_mean_over_the_games_that_were_played(rank):
    scored = rank(LengthBaselineJudge(), ["a b", "a b c", "a b c d e"])
    # All meet: 2 words share 11 points with 3 and with 5: 1 + 9 x 2/5 = 4.6, 1 + 9 x 2/7 = 3.571; mean 4.086
    # 3 words: 6.4 and 1 + 9 x 3/8 = 4.375; mean 5.3875. 5 words: 7.429 and 6.625; mean 7.027
    assert [s.score for s in scored.scores] == pytest.approx([4.0857, 5.3875, 7.0268], abs=1e-4)
    assert [(s.battles, s.wins) for s in scored.scores] == [(2, 0), (2, 1), (2, 2)]
    assert len(scored.played.games) == 6


def test_an_unscored_battle_leaves_a_sample_its_others_and_is_counted(rank):
    scored = rank(WordCountJudge(), ["one", "one two", "nonsense"])
    assert [s.score for s in scored.scores] == [1.0, 2.0, None]
    assert scored.scores[2].unscored == "nonsense"
    assert [s.battles for s in scored.scores] == [1, 1, 0]
    figures = sample_figures(scored)
    assert (figures["samples"], figures["unscored"], figures["unscored_reasons"]) == (3, 1, {"nonsense": 1})
    assert (figures["games"], figures["games_unscored"]) == (6, 4)
    assert (figures["mean_score"], figures["best_score"], figures["worst_score"]) == (1.5, 2.0, 1.0)


def test_a_refused_sample_is_unscored_and_no_judge_is_asked(rank):
    judge = Single()
    gone = {"finish_reason": "refused", "refusal": "a content filter"}
    scored = rank(judge, ["one", ""], ends={2: gone})
    assert [s.score for s in scored.scores] == [1.0, None]
    assert "a content filter" in scored.scores[1].unscored
    assert len(judge.presented) == 1


def test_a_ranking_that_was_stopped_goes_on_with_the_games_that_are_missing(rank):
    texts = [" ".join("abcdefgh"[:n]) for n in range(1, 9)]
    with pytest.raises(KeyboardInterrupt):
        rank(WordCountJudge(fail_after=9), texts, others=3)
    judge = WordCountJudge()
    resumed = rank(judge, texts, others=3)
    assert len(judge.presented) == 24 - 9
    again = rank(other := WordCountJudge(), texts, others=3)
    assert (again.scores, again.played.judged, other.presented) == (resumed.scores, 0, [])


@given(st.integers(1, 11), st.integers(0, 12), st.integers(0, 3))
def test_each_sample_meets_as_many_others_as_was_asked(count, others, seed):
    names = [f"t#{k}" for k in range(1, count + 1)]
    pairs = meetings("i1", names, others, seed)
    assert len({frozenset(pair) for pair in pairs}) == len(pairs)
    assert all(a != b for a, b in pairs)
    met = Counter(name for pair in pairs for name in pair)
    each = min(others or count, count - 1)
    extra = [met[name] - each for name in names]
    assert sorted(extra) == [0] * (count - 1) + [int(count % 2 == 1 and each % 2 == 1)]
    assert sorted(pairs) == sorted(meetings("i1", names[::-1], others, seed))


def test_the_schedule_of_an_instruction_hangs_on_the_seed():
    names = [f"t#{k}" for k in range(1, 9)]
    drawn = [{frozenset(pair) for pair in meetings("i1", names, 3, seed)} for seed in range(4)]
    assert drawn[0] not in drawn[1:]


@pytest.fixture
def judged(tmp_path, make_params, make_instruction, make_response):
    """Run the judge stage of dpo-i1 under the rubric judge, with two samples or none."""
    paths = Paths(tmp_path)
    rubric = ({"kind": "number", "value": 7, "weight": 1},)
    write_rows(paths.split("d2"), [make_instruction("i1", rubric=rubric)])
    write_rows(
        paths.responses("dpo-i1"),
        [make_response("i1", c, text) for c, text in (("expert", "It is 7."), ("sft-i1", "Mud."))],
    )
    write_rows(
        paths.samples("dpo-i1"),
        [make_response("i1", "sft-i1", text, sample=k) for k, text in ((1, "It is 7."), (2, "Dust."))],
    )

    def run(samples):
        pairs = "samples" if samples > 1 else "all"
        raw = make_params(battle={"samples": samples}, dataset={"pairs": pairs})
        return judge_round("dpo-i1", parse_params(raw, "here"), paths)

    return run, paths


def test_the_judge_stage_ranks_samples_in_a_file_of_their_own(judged, capsys):
    run, paths = judged
    run(1)
    plain = [file.read_bytes() for file in (paths.games("dpo-i1"), paths.battles("dpo-i1"))]
    metrics = read_json(paths.stage_metrics("dpo-i1", "judge"))
    assert paths.sample_scores("dpo-i1").read_bytes() == b""
    assert "samples" not in metrics
    capsys.readouterr()
    found = run(2)
    assert "dpo-i1: 2 samples, 2 games under rubric-all v1" in capsys.readouterr().err
    assert [file.read_bytes() for file in (paths.games("dpo-i1"), paths.battles("dpo-i1"))] == plain
    scores = read_rows(paths.sample_scores("dpo-i1"), SampleScore)
    assert [(s.sample, s.score) for s in scores] == [(1, 10.0), (2, 1.0)]
    assert {**found, "samples": 0, "judged": 0} == {**metrics, "samples": 0, "judged": 0}
    assert (found["samples"]["best_score"], found["samples"]["spread"]) == (10.0, 9.0)
    assert found["judged"] == 2  # the battles came from the store
    assert run(2)["judged"] == 0


def test_old_rows_keep_their_bytes_and_a_sample_its_number(make_response):
    assert "sample" not in make_response().model_dump(mode="json")
    row = make_response(sample=2)
    assert row.model_dump(mode="json")["sample"] == 2
    assert Response.model_validate_json(row.model_dump_json()) == row
