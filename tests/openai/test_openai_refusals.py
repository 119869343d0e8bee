"""What one conversation meets by itself never stops the others; what would meet every other one stops at once."""

from __future__ import annotations

import pytest
from endpoint import Reply, completion

from arena_learning.arena import Contestant, ask_contestant_for
from arena_learning.core.errors import ArenaError
from arena_learning.engines.base import Completion, Refused
from arena_learning.params.contestants import Sampling
from arena_learning.schema.rows import Turn
from arena_learning.store.store import Store


def conversations(count):
    return [[Turn(role="user", content=f"Question {n}")] for n in range(count)]


def place(request):
    return int(request.body["messages"][-1]["content"].split()[-1])


def error(code_, message="no", headers=(), /, **fields):
    return Reply(code_, {"error": {"message": message, **fields}}, headers)


NOTHING = {"null": completion(None), "empty": completion(""), "no parts": completion([])}
NOTHING["missing"] = completion("x")
del NOTHING["missing"]["choices"][0]["message"]["content"]
NOTHING["none counted"] = completion("", tokens=0)


@pytest.mark.parametrize("name", NOTHING)
def test_a_conversation_that_always_ends_empty_is_refused_and_the_others_are_answered(name, serve, connect):
    server = serve(lambda r: Reply(body=NOTHING[name]) if place(r) == 1 else None)
    found = connect(server, retries=3).respond(conversations(4), Sampling())
    assert found[1] == Refused("an empty answer, 4 times")
    assert [isinstance(a, Completion) for a in found] == [True, False, True, True]
    assert len(server.requests) == 3 + 4


def test_it_is_refused_even_if_nothing_else_is_asked(serve, connect):
    server = serve(lambda _: Reply(body=completion(None)))
    assert connect(server, retries=2).respond(conversations(1), Sampling()) == [
        Refused("an empty answer, 3 times")
    ]
    assert len(server.requests) == 3


def test_a_server_whose_answers_are_all_empty_is_not_asked_for_each_again_and_again(serve, connect):
    # Twenty conversations, and at most the seven others in flight, are asked three times; all the rest once.
    server = serve(lambda _: Reply(body=completion(None)))
    found = connect(server, retries=2).respond(conversations(100), Sampling())
    assert {type(answer) for answer in found} == {Refused}
    assert 100 + 2 * 20 <= len(server.requests) <= 100 + 2 * 27
    assert found[99] == Refused("an empty answer, 1 times")


AZURE = {
    "code": "content_filter",
    "param": "prompt",
    "innererror": {
        "code": "ResponsibleAIPolicyViolation",
        "content_filter_result": {"hate": {"filtered": True}},
    },
}
ITEMS = {
    "a long prompt": (
        error(400, "This model's maximum context length is 8192 tokens.", code="context_length_exceeded"),
        "the prompt does not fit: status 400",
    ),
    "a long prompt, llama.cpp": (
        error(400, "request exceeds it", type="exceed_context_size_error"),
        "the prompt does not fit",
    ),
    "a long prompt, as the server's fault": (
        error(500, "the request exceeds the available context size"),
        "does not fit",
    ),
    "a long prompt for a minute": (
        error(429, "Request too large for m on tokens per min (TPM): Limit 10000, Requested 12000."),
        "does not fit",
    ),
    "too large": (Reply(413, "too large"), "status 413: too large"),
    "Azure's filter": (
        error(400, "The response was filtered", **AZURE),
        "content filter refused it: status 400",
    ),
    "a filter of the prompt": (error(400, "Content Exists Risk"), "content filter"),
    "moderation": (error(403, "your input was flagged"), "content filter"),
    "invalid turns": (Reply(422, {"detail": "roles must alternate"}), "status 422: roles must alternate"),
    "Google's list": (Reply(400, [{"error": {"message": "bad turn", "code": 400}}]), "status 400: bad turn"),
    "an error with status 200": (
        Reply(body={"error": {"message": "bad turn", "code": 400}}),
        "status 400: bad turn",
    ),
    "the law": (error(451, "not here"), "status 451"),
}


@pytest.mark.parametrize("name", ITEMS)
def test_a_conversation_that_is_refused_is_refused_after_one_request(name, serve, connect):
    reply, reason = ITEMS[name]
    server = serve(lambda r: reply if place(r) == 1 else None)
    found = connect(server).respond(conversations(4), Sampling())
    assert [isinstance(a, Completion) for a in found] == [True, False, True, True]
    assert reason in found[1].reason
    assert len(server.requests) == 4


@pytest.mark.parametrize("name", ["a long prompt", "Azure's filter", "moderation", "too large"])
def test_as_many_as_there_are_stop_nothing_where_it_is_the_conversations(name, serve, connect):
    # Another run over what was refused before meets nothing but refusals.
    server = serve(lambda r: ITEMS[name][0])
    found = connect(server).respond(conversations(30), Sampling())
    assert {type(answer) for answer in found} == {Refused}
    assert len(server.requests) == 30


USED_UP = {
    "OpenAI": error(
        429,
        "You exceeded your current quota, please check your plan and billing details.",
        type="insufficient_quota",
        code="insufficient_quota",
    ),
    "a limit on the bill": error(
        429, "Billing hard limit has been reached", code="billing_hard_limit_reached"
    ),
    "inside of status 200": error(200, "You exceeded your current quota", code="insufficient_quota"),
    "funds": error(429, "You have run out of funds. Please top up."),
    "no credits": error(429, "You have no credits left"),
    "the same as 400": error(400, "Billing hard limit has been reached", code="billing_hard_limit_reached"),
    "Anthropic": error(
        400, "Your credit balance is too low to access the API.", type="invalid_request_error"
    ),
    "payment required": error(402, "Insufficient Balance"),
    "payment required, without a word": Reply(402, ""),
    "no credits left": error(403, "Your team has used all available credits or reached its spending limit."),
    "a quota without a code": error(429, "You exceeded your current quota."),
    "a day's requests": error(429, "Rate limit exceeded: free-models-per-day."),
    "a day's tokens": error(
        429, "Rate limit reached on tokens per day (TPD): Limit 100000.", (("Retry-After", "7200"),)
    ),
    "Google's day": error(
        429,
        "You exceeded your current quota. Please retry in 39s.",
        status="RESOURCE_EXHAUSTED",
        details=[{"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}],
    ),
    "with status 200": Reply(body={"error": {"message": "Insufficient credits", "code": 402}}),
}


@pytest.mark.parametrize("name", USED_UP)
def test_a_quota_that_is_used_up_stops_after_one_request(name, serve, connect, monkeypatch):
    monkeypatch.setenv("A_KEY", "planted")
    server = serve(lambda _: USED_UP[name])
    with pytest.raises(ArenaError, match="the endpoint's quota is used up: status 4") as caught:
        connect(server, api_key_env="A_KEY", concurrency=32).respond(conversations(40), Sampling())
    assert len(server.requests) == 1
    assert "top up" in caught.value.hint
    assert "A_KEY" in caught.value.hint
    assert "run again" in caught.value.hint


def test_what_was_answered_before_the_quota_was_used_up_is_kept(serve, connect, tmp_path, make_instruction):
    server = serve(lambda r: USED_UP["OpenAI"] if r.number > 10 else None)
    instructions = [make_instruction(f"i{n}", f"Question {n}") for n in range(30)]
    with Store(tmp_path / "store.sqlite") as store:
        with pytest.raises(ArenaError, match="quota is used up"):
            ask_contestant_for(Contestant("x", connect(server), Sampling()), instructions, store)
        assert store.count("response") == 10
        assert len(server.requests) <= 10 + 8  # eight are in flight
        server.script = None
        assert (
            ask_contestant_for(Contestant("x", connect(server), Sampling()), instructions, store).generated
            == 20
        )


PASSING = {
    "tokens a minute": error(429, "Rate limit reached on tokens per min (TPM). Please try again in 20ms."),
    "Google's minute": error(
        429,
        "You exceeded your current quota. Please retry in 0.02s.",
        details=[{"violations": [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel"}]}],
    ),
    "Google's minute, no word of when": error(429, "Quota exceeded for generate_requests_per_minute."),
    "a day's requests, soon renewed": error(429, "on requests per day (RPD). Please try again in 0.02s."),
    "Azure": error(
        429, "exceeded token rate limit of your pricing tier.", (("retry-after", "0.02"),), code="429"
    ),
    "resources": error(429, "Resource has been exhausted (e.g. check quota).", status="RESOURCE_EXHAUSTED"),
}


@pytest.mark.parametrize("name", PASSING)
def test_a_limit_that_passes_is_waited_for(name, serve, connect):
    server = serve(lambda r: PASSING[name] if r.number <= 3 else None)
    found = connect(server).respond(conversations(10), Sampling())
    assert {type(answer) for answer in found} == {Completion}
    assert len(server.requests) == 13


def test_a_limit_inside_of_status_200_ends_in_a_refusal_and_never_asks_for_ever(serve, connect):
    limited = Reply(body={"error": {"message": "slow down", "code": 429}})
    server = serve(lambda r: limited if place(r) == 1 else None)
    found = connect(server, retries=2).respond(conversations(4), Sampling())
    assert found[1] == Refused("3 attempts failed, the last by status 429: slow down", passing=True)
    assert len(server.requests) == 6
