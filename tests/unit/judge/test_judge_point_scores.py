from __future__ import annotations

from collections import Counter

import pytest

from arena_learning.core.paths import Paths
from arena_learning.judge.build import open_judge
from arena_learning.judge.point_scores import PointScores
from arena_learning.judge.reference import ReferenceJudge
from arena_learning.judge.rubric import RubricJudge
from arena_learning.params import parse_params
from arena_learning.pool import embeddings
from arena_learning.testing.judge_suite import INSTRUCTION, present


def lengths(asked):
    """A way to score that writes down which texts it was asked for."""

    def score(answers):
        asked.append([response.text for _, response in answers])
        return [len(response.text) for _, response in answers]

    return score


def answer(text, instruction=INSTRUCTION, finish_reason="stop"):
    return instruction, present(text, "").first.model_copy(update={"finish_reason": finish_reason})


def test_each_distinct_answer_is_scored_once_in_order():
    asked = []
    scores = PointScores[int]()
    assert scores.of([answer(t) for t in ("cc", "a", "cc")], lengths(asked)) == [2, 1, 2]
    assert scores.of([answer(t) for t in ("a", "bbb")], lengths(asked)) == [1, 3]
    assert scores.of([answer("a")], lengths(asked)) == [1]
    assert asked == [["cc", "a"], ["bbb"]]


def test_an_answer_is_told_apart_by_instruction_and_finish_reason():
    asked = []
    scores = PointScores[int]()
    twin = INSTRUCTION.model_copy()  # the same id: only the object is another
    three = [answer("a"), answer("a", twin), answer("a", finish_reason="length")]
    assert scores.of([*three, *three], lengths(asked)) == [1] * 6
    assert asked == [["a"] * 3]


def test_an_instruction_that_is_gone_lends_its_identity_to_no_other():
    scores = PointScores[int]()
    for number in range(200):  # Python gives a freed object's identity to the next one
        made = INSTRUCTION.model_copy(update={"id": f"i{number}"})
        assert scores.of([answer("a", made)], lambda new, n=number: [n]) == [number]


def test_more_than_fits_is_forgotten_and_scored_again():
    asked = []
    scores = PointScores[int](most=2)
    scores.of([answer("a"), answer("bb")], lengths(asked))
    assert scores.of([answer("bb"), answer("ccc")], lengths(asked)) == [2, 3]
    assert asked == [["a", "bb"], ["bb", "ccc"]]


@pytest.mark.torch
@pytest.mark.parametrize("kind", [RubricJudge, ReferenceJudge])
def test_a_judge_scores_an_answer_once_for_all_opponents_and_orders(kind, monkeypatch):
    texts = ["The Danube ends in a delta.", "It is the Rhine.", "", "I do not know that river."]
    pairs = [(a, b) for a in texts for b in texts if a != b]
    alone = [kind().score([present(*pair)])[0] for pair in pairs]  # by a judge that knows nothing
    judge = kind()
    name = "score_response" if kind is RubricJudge else "_score"
    own, calls = getattr(judge, name), Counter()

    def counted(first, second):
        calls[second if isinstance(second, str) else second.text] += 1
        return own(first, second)

    monkeypatch.setattr(judge, name, counted)
    presented = [present(*pair) for pair in pairs]
    assert judge.score(presented[:5]) + judge.score(presented[5:]) == alone
    assert calls == dict.fromkeys(texts, 1)


@pytest.mark.torch
@pytest.mark.parametrize("kind", ["rubric", "reference"])
def test_an_opened_judge_finds_the_projects_vectors_in_another_process(
    kind, tmp_path, make_params, monkeypatch
):
    params, paths = parse_params(make_params(judges={"rubric": {"kind": kind}}), "here"), Paths(tmp_path)
    presented = [present("The Danube ends in a delta.", "It is the Rhine.")]
    first = open_judge("rubric", params, paths).score(presented)
    embeddings.shared_embedder.cache_clear()  # what another process begins with
    monkeypatch.setattr(embeddings, "_model", lambda how: pytest.fail("the embedding model was loaded"))
    assert open_judge("rubric", params, paths).score(presented) == first
