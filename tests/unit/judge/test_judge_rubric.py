from __future__ import annotations

from pathlib import Path
from statistics import fmean

import pytest
from hostile import hostile_answers

from arena_learning.judge.rubric import RubricJudge
from arena_learning.pool.instructions import read_pool
from arena_learning.pool.read import read_answers, with_references
from arena_learning.testing.judge_suite import INSTRUCTION, present

pytestmark = pytest.mark.torch

DATA = Path(__file__).parents[3] / "data"
# In a shorter answer the keywords are the answer: no trick can be told from it.
FEWEST_WORDS = 12


@pytest.fixture(scope="module")
def judge():
    return RubricJudge()


@pytest.fixture(scope="module")
def answers():
    return {name: read_answers(DATA / "opponents" / f"{name}.jsonl") for name in ("expert", "plain")}


@pytest.fixture(scope="module")
def pool(answers):
    return with_references(read_pool(DATA / "pool.jsonl"), answers["expert"])


def score(judge, text, instruction=INSTRUCTION, finish_reason="stop"):
    presentation = present(text, "")._replace(instruction=instruction)
    return judge.score_response(
        instruction, presentation.first.model_copy(update={"finish_reason": finish_reason})
    )


def with_rubric(*points, reference=None):
    return INSTRUCTION.model_copy(update={"rubric": points, "reference": reference})


def test_scores_move_in_halves_between_one_and_ten(judge, pool, answers):
    for item in pool[::40]:
        value = score(judge, answers["plain"][item.id], item).value
        assert 1 <= value <= 10
        assert 2 * value == int(2 * value)


def test_the_order_of_a_presentation_changes_nothing(judge, pool, answers):
    for item in pool[::60]:
        pair = (answers["expert"][item.id], answers["plain"][item.id])
        one, other = judge.score([present(*pair, item), present(*pair[::-1], item)])
        assert (one.score_first, one.score_second) == (other.score_second, other.score_first)


def test_the_weighted_share_of_the_points_met_is_the_score(judge):
    rubric = (
        {"kind": "states", "any": ["danube"], "weight": 3},
        {"kind": "states", "any": ["delta"], "weight": 1},
    )
    found = score(judge, "It is the Danube that flows there.", with_rubric(*rubric))
    assert found.value == 8.0  # 1 + 9 x 3 / 4 = 7.75, in halves (the even one: 15.5 doubled rounds to 16)
    assert found.rationale.splitlines() == [
        "[1.00 x 3] states 'danube': 'danube'",
        "[0.00 x 1] states 'delta': not stated",
    ]


def test_form_and_silence_earn_nothing_without_substance(judge):
    rubric = (
        {"kind": "states", "any": ["danube"], "weight": 1},
        {"kind": "avoids", "any": ["rhine"], "weight": 5},
        {"kind": "length", "min": 1, "max": 20, "weight": 5},
    )
    assert score(judge, "I would rather talk about the weather.", with_rubric(*rubric)).value == 1
    assert score(judge, "It is the Danube.", with_rubric(*rubric)).value == 10


def test_a_cut_off_answer_costs_a_tenth_unless_only_content_counts(judge):
    text, rubric = "It is the Danube.", with_rubric({"kind": "states", "any": ["danube"], "weight": 1})
    assert score(judge, text, rubric, "length").value == 9  # 1 + 9 x 0.9 = 9.1
    assert score(RubricJudge("content"), text, rubric, "length").value == 10


def test_a_paraphrase_is_nearer_than_another_matter(judge):
    rubric = with_rubric({"kind": "semantic", "text": "The river ends in the Black Sea.", "weight": 1})
    near = score(judge, "Its waters finally reach the Black Sea, on the coast of Romania.", rubric).value
    assert near >= 7
    assert score(judge, "My cat sleeps on the radiator all day.", rubric).value <= 2


def test_a_rubric_without_content_points_is_unscored_where_only_content_counts():
    rubric = with_rubric({"kind": "length", "min": 1, "weight": 1})
    verdict = RubricJudge("content").score([present("good", "poor", rubric)])[0]
    assert verdict.unscored == "the rubric has no content point"


def test_words_that_the_reference_says_as_well_are_not_pasted(judge):
    names = "Amy Baker, Deniz Yilmaz, Noah Baker, Sofia Grant and Ute Berg"
    rubric = with_rubric({"kind": "semantic", "text": names, "weight": 1}, reference=names)
    assert score(judge, names, rubric).value == 10
    assert score(judge, names, rubric.model_copy(update={"reference": "There are five guests."})).value < 4


@pytest.mark.slow
def test_the_expert_is_preferred_to_the_plain_answer(judge, pool, answers):
    sample = pool[::9]
    verdicts = judge.score([present(answers["expert"][i.id], answers["plain"][i.id], i) for i in sample])
    wins = sum(v.score_first > v.score_second for v in verdicts)
    losses = sum(v.score_first < v.score_second for v in verdicts)
    assert wins / len(sample) >= 0.8
    assert losses / len(sample) <= 0.12
    assert fmean(v.score_first - v.score_second for v in verdicts) >= 3


@pytest.mark.slow
def test_hostile_answers_score_low(judge, pool, answers):
    expert = answers["expert"]
    long = [i for i in pool if len(expert[i.id].split()) >= FEWEST_WORDS]
    presentations, kinds = [], []
    for place in range(0, len(long), len(long) // 9):
        item, same, other = (long[(place + step) % len(long)] for step in (0, 1, len(long) // 2))
        for hostile in hostile_answers(item, expert[item.id], expert[same.id], expert[other.id]):
            presentations.append(present(hostile.text, answers["plain"][item.id], item))
            kinds.append(hostile.kind)
    verdicts = judge.score(presentations)
    assert len(set(kinds)) == 40
    assert fmean(v.score_first for v in verdicts) <= 2
    assert fmean(v.score_first > v.score_second for v in verdicts) <= 0.1
    assert fmean(v.score_first >= 6 for v in verdicts) <= 0.05
    # The hardest are an expert's own words in another order, and the rubric's keywords in a sentence.
    hard = {
        kind: fmean(v.score_first for v, k in zip(verdicts, kinds, strict=True) if k == kind)
        for kind in kinds
    }
    assert max(hard.values()) <= 5.5, max(hard.items(), key=lambda pair: pair[1])
