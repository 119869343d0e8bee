"""The engine `openai` on a real `vllm serve`."""

from __future__ import annotations

from math import exp

import pytest

from arena_learning.core.errors import ArenaError
from arena_learning.engines.base import stream_answers
from arena_learning.engines.openai.engine import OpenAi
from arena_learning.params import Endpoint
from arena_learning.params.contestants import Sampling
from arena_learning.testing.engine_suite import EngineConformance, ask


@pytest.fixture(scope="module")
def engine(served):
    engine = OpenAi("smollm2", Endpoint(base_url=served, concurrency=8))
    yield engine
    engine.close()


class TestConformance(EngineConformance):
    pass


def test_it_answers_and_stops(engine):
    (answer,) = engine.respond([ask("What is the capital of France?")], Sampling(max_tokens=64))
    assert "Paris" in answer.text
    assert answer.finish_reason == "stop"


def test_an_answer_is_held_to_a_pattern_by_extra_body(served):
    endpoint = Endpoint(base_url=served, extra_body={"structured_outputs": {"regex": "Score: [1-9]"}})
    engine = OpenAi("smollm2", endpoint)
    (group,) = stream_answers(
        engine, [ask("How good is bread, from 1 to 9?")], Sampling(max_tokens=20), top_logprobs=20
    )
    engine.close()
    (_, answer) = group[0]
    assert answer.text.startswith("Score: ")
    assert answer.text[-1] in "123456789"
    digit = next(token for token in answer.tokens if token.text == answer.text[-1])
    assert 0.9 < sum(exp(log) for _, log in digit.top_logprobs) <= 1.001


def test_a_model_that_is_not_there_is_told(served):
    engine = OpenAi("another", Endpoint(base_url=served))
    with pytest.raises(ArenaError, match=r"status 404.*another"):
        engine.respond([ask("Hello")], Sampling())
    engine.close()


def test_a_prompt_beyond_the_context_is_one_refusal(engine):
    found = dict(
        pair
        for group in engine.stream([ask("Hi"), ask("a b " * 4000)], Sampling(max_tokens=4))
        for pair in group
    )
    assert found[0].text
    assert "status 400" in found[1].reason
