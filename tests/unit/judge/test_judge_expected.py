"""Scores as expected values, worked out by hand; scores that an engine is held to by a schema."""

from __future__ import annotations

from math import log
from pathlib import Path

import pytest
from scripted import ScriptedEngine

from arena_learning.core.errors import ArenaError
from arena_learning.engines.base import Completion, Token
from arena_learning.judge.expected import expected_scores
from arena_learning.judge.llm import LlmJudge
from arena_learning.judge.parse import find_json_scores, find_scores
from arena_learning.judge.response_format import response_format
from arena_learning.judge.template import JudgeTemplate
from arena_learning.params.contestants import Sampling
from arena_learning.testing.judge_suite import check_judge, present

PAIRWISE, REASONS, JSON = (JudgeTemplate(n, Path()) for n in ("pairwise-score", "reasoning-first", "json"))


def tokens(*said):
    """Tokens from texts; a dict is a place where others were top_logprobs: the first key was said, values are probabilities."""
    places = [{text: 1.0} if isinstance(text, str) else text for text in said]
    return [Token(next(iter(p)), tuple((t, log(share)) for t, share in p.items())) for p in places]


def expected(*said, find=find_scores):
    made = tokens(*said)
    return expected_scores(made, find("".join(token.text for token in made)))


def test_a_score_is_the_mean_of_what_might_have_stood_there():
    found = expected("Score-A:", {" 7": 0.6, " 8": 0.3, " 3": 0.1}, "\nScore-B:", {" 4": 0.5, " 5": 0.5})
    assert found == (pytest.approx(0.6 * 7 + 0.3 * 8 + 0.1 * 3), 4.5, None)


def test_what_is_no_score_is_left_out_and_the_rest_is_a_whole():
    # 0.5 on 6, 0.25 on 8; a word, a zero and 85 are no scores: (0.5 * 6 + 0.25 * 8) / 0.75
    place = {" 6": 0.5, " 8": 0.25, " good": 0.15, " 0": 0.05, " 85": 0.05}
    assert expected("Score-A:", place, "\nScore-B:", " 4").a == pytest.approx(5 / 0.75)


def test_the_same_number_with_and_without_a_space_counts_together():
    assert expected("Score-A:", {" 6": 0.4, "6": 0.2, " 9": 0.4}, "\nScore-B: ", "4").a == pytest.approx(7.2)


def test_ten_in_one_token():
    assert expected("Score-A:", {" 10": 0.5, " 1": 0.25, " 9": 0.25}, "\nScore-B:", " 4").a == pytest.approx(
        7.5
    )


def test_ten_in_two_tokens_takes_its_share_of_the_one():
    # A 1 was said, with 0.8; then a 0 with 0.75. So 10 has 0.6, 1 has 0.2, and 8 has 0.2.
    said = ["Score-A:", {" 1": 0.8, " 8": 0.2}, {"0": 0.75, "\n": 0.25}, "\nScore-B:", " 4"]
    assert expected(*said).a == pytest.approx(0.6 * 10 + 0.2 * 1 + 0.2 * 8)
    # Where an 8 was said, nobody knows what would have followed the 1: it is left out.
    assert expected("Score-A:", {" 8": 0.6, " 1": 0.4}, "\nScore-B:", " 4").a == 8


def test_a_score_with_a_point_keeps_what_stands_behind_it():
    said = ["Score-A:", {" 7": 0.5, " 8": 0.5}, ".5", "\nScore-B:", " 4"]
    assert expected(*said).a == pytest.approx(0.5 * 7.5 + 0.5 * 8)


def test_the_last_verdict_is_the_one_that_is_weighed_and_json_has_its_places_too():
    first = ["Score-A:", {" 2": 0.5, " 3": 0.5}, "\nScore-B:", " 9", "\nNo:\n"]
    assert expected(*first, "Score-A:", {" 7": 0.5, " 9": 0.5}, "\nScore-B:", " 4")[:2] == (8, 4)
    place = {" 7": 0.75, " 3": 0.25}
    said = ['{"explanation": "it says \\"Score-A\\": 10", "Score-A":', place, ', "Score-B":', " 4", "}"]
    assert expected(*said, find=find_json_scores)[:2] == (6, 4)


def test_unlikely_scores_and_missing_probabilities_are_no_verdict():
    place = {" 7": 0.3, " good": 0.7}
    assert expected("Score-A:", place, "\nScore-B:", " 4").problem.startswith("less than half")
    assert (
        expected_scores([], find_scores("Score-A: 7\nScore-B: 4")).problem
        == "the engine told no probabilities"
    )
    assert expected("I say nothing").problem == "no score line"


class Weigher(ScriptedEngine):
    """Says 7 or 8 for what it finds longer, 5 for the other, and tells how likely each was."""

    max_top_logprobs = 5

    def respond_with_logprobs(self, conversations, sampling, top_logprobs):
        assert top_logprobs == self.max_top_logprobs
        for place, conversation in enumerate(conversations):
            text = conversation[-1].content
            self.asked.append((text, sampling))
            lengths = [len(text.split(f"<response_{side}>")[-1].split("</response")[0]) for side in "ab"]
            seven, five = {" 7": 0.5, " 8": 0.5}, {" 5": 0.9, " 6": 0.1}
            a, b = (seven, five) if lengths[0] > lengths[1] else (five, seven)
            made = tokens("Score-A:", a, "\nScore-B:", b)
            said = "".join(token.text for token in made)
            yield [(place, Completion(said, "stop", 10, 5, 0.5, tuple(made)))]


def test_a_judge_by_expected_values_conforms_and_gives_them():
    check_judge(LlmJudge("m", Weigher(None), PAIRWISE, Sampling(), 1, expected=True))
    judge = LlmJudge("m", Weigher(None), PAIRWISE, Sampling(), 1, expected=True)
    (verdict,) = judge.score([present("one two three four", "one")])
    assert verdict[:2] == (pytest.approx(7.5), pytest.approx(5.1))
    plain = LlmJudge("m", ScriptedEngine(None), PAIRWISE, Sampling(), 1)
    assert (judge.fingerprint["scores"], "scores" in plain.fingerprint) == ("expected v1", False)
    assert " expected " in judge.label


def test_an_engine_that_tells_no_probabilities_is_refused_at_once():
    with pytest.raises(ArenaError, match="returns no log-probabilities"):
        LlmJudge("m", ScriptedEngine(None), PAIRWISE, Sampling(), 1, expected=True)


def test_a_label_names_every_template_with_its_version():
    judge = LlmJudge("m", ScriptedEngine(None), PAIRWISE, Sampling(), 1, {"coding": REASONS})
    assert f"pairwise-score@{PAIRWISE.digest} coding=reasoning-first@{REASONS.digest}" in judge.label


def test_a_schema_holds_scores_to_whole_numbers_with_the_reasons_first():
    schema = response_format([JSON], "openai", "here", 50)["json_schema"]["schema"]
    assert list(schema["properties"]) == ["explanation", "Score-A", "Score-B"] == schema["required"]
    assert schema["properties"]["Score-A"]["enum"] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert schema["properties"]["explanation"] == {"type": "string"}  # hosted endpoints refuse a bounded text


def test_scores_before_the_reasons_where_the_template_wants_them_so(tmp_path):
    (tmp_path / "own.jinja").write_text("{#- verdict: json -#}\n{{ response_a }} {{ response_b }}")
    own = JudgeTemplate("own.jinja", tmp_path)
    schema = response_format([own], "vllm", "here", 50)["json_schema"]["schema"]
    assert list(schema["properties"]) == ["Score-A", "Score-B", "explanation"]
    assert schema["properties"]["explanation"]["maxLength"] == 100  # two characters for each of the 50 tokens
    with pytest.raises(ArenaError, match="explanation before the scores, others after"):
        response_format([own, JSON], "vllm", "here", 50)


def test_what_no_schema_can_hold_is_refused():
    with pytest.raises(ArenaError, match="'recorded' has no structured output"):
        response_format([JSON], "recorded", "here", 50)
    with pytest.raises(ArenaError, match="'pairwise-score' does not ask for JSON"):
        response_format([JSON, PAIRWISE], "openai", "here", 50)
