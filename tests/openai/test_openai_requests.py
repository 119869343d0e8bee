"""What is sent, what never is, and how fast."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from endpoint import Reply, completion
from pydantic import ValidationError

from arena_learning.arena import Contestant, ask_contestant_for
from arena_learning.core.errors import ArenaError
from arena_learning.core.paths import Paths
from arena_learning.engines.base import Completion
from arena_learning.engines.build import open_opponent
from arena_learning.engines.openai.rate_limit import RateLimiter, retry_after, retry_in
from arena_learning.params import Endpoint, Opponent, parse_params
from arena_learning.params.contestants import Sampling
from arena_learning.schema.rows import Turn
from arena_learning.store.store import Store
from arena_learning.testing.languages import FOREIGN

KEY = "sk-planted-7f3a9c"
HELLO = [[Turn(role="user", content="Hello")]]


def test_sampling_is_sent_as_resolved(serve, connect):
    server = serve()
    connect(server, system="Be brief.", extra_body={"top_k": 5}).respond(
        HELLO, Sampling(max_tokens=7, temperature=0.5, top_p=0.9, seed=3, repetition_penalty=1.1)
    )
    assert server.requests[0].body == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
        "max_tokens": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 3,
        "repetition_penalty": 1.1,
        "top_k": 5,
    }


def test_fields_that_a_model_refuses_can_be_left_out_and_renamed(serve, connect):
    server = serve()
    connect(server, omit="temperature, top_p", token_limit="max_completion_tokens").respond(
        HELLO, Sampling(max_tokens=7)
    )
    assert server.requests[0].body.keys() == {"model", "messages", "seed", "max_completion_tokens"}


def test_what_changes_an_answer_is_in_the_fingerprint_and_what_does_not_is_not(serve, connect, monkeypatch):
    server = serve()
    monkeypatch.setenv("A_KEY", KEY)
    base = connect(server).fingerprint
    for same in ({"concurrency": 3}, {"timeout": 9.0}, {"api_key_env": "A_KEY"}, {"tokens_per_minute": 9}):
        assert connect(server, **same).fingerprint == base
    others = [
        {"omit": "seed"},
        {"extra_body": {"top_k": 1}},
        {"system": "x"},
        {"base_url": "http://127.0.0.1:1/v1"},
    ]
    assert all(connect(server, **other).fingerprint != base for other in others)


def test_the_key_reaches_the_endpoint_and_nothing_else(
    serve, connect, monkeypatch, tmp_path, make_instruction, caplog, capfd
):
    monkeypatch.setenv("A_KEY", KEY)
    caplog.set_level(logging.DEBUG)

    def echo(request):  # an endpoint that says the key back: in an answer, in an error, in a header
        said = request.headers["authorization"]
        if request.number == 1:
            return Reply(500, {"error": {"message": said}})
        return Reply(body=completion(f"your key is {said}"))

    server = serve(echo)
    engine = connect(server, api_key_env="A_KEY", concurrency=1)
    with Store(tmp_path / "store.sqlite") as store:
        asked = ask_contestant_for(
            Contestant("x", engine, Sampling()),
            [make_instruction(f"i{n}", f"Q {n}") for n in range(3)],
            store,
        )
    assert {r.headers["authorization"] for r in server.requests} == {f"Bearer {KEY}"}
    assert asked.responses[0].text == "your key is Bearer ***"
    dump = "\n".join(sqlite3.connect(tmp_path / "store.sqlite").iterdump())
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    said = capfd.readouterr()
    places = (dump, str(files), str(engine.fingerprint), repr(engine), said.out, said.err, caplog.text)
    assert [KEY in place for place in places] == [False] * 7
    server.script = lambda r: Reply(401, {"error": {"message": f"bad key {KEY}"}})
    with pytest.raises(ArenaError, match=r"bad key \*\*\*") as caught:
        engine.respond(HELLO, Sampling())
    assert KEY not in repr(caught.value) + str(caught.value)
    assert "A_KEY" in caught.value.hint


def test_no_key_is_sent_where_none_is_named(serve, connect, monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, KEY)
    server = serve()
    connect(server).respond(HELLO, Sampling())
    assert KEY not in str(server.requests[0].headers)
    assert "authorization" not in server.requests[0].headers


def test_a_key_that_is_not_set_is_told_before_anything_is_asked(serve, connect, monkeypatch):
    monkeypatch.delenv("A_KEY", raising=False)
    with pytest.raises(ArenaError, match="A_KEY is not set"):
        connect(serve(), api_key_env="A_KEY")


@pytest.mark.parametrize("url", ["http://user:pw@host/v1", "https://host/v1?api-key=x"])
def test_a_key_in_the_address_is_refused_without_being_shown(url, make_params):
    with pytest.raises(ValidationError, match="must not contain a user, key or query"):
        Endpoint(base_url=url)
    opponents = {"x": {"engine": "openai", "model": "m", "base_url": url}}
    with pytest.raises(ArenaError, match="api_key_env") as caught:
        parse_params(make_params(opponents=opponents), "here")
    assert url not in str(caught.value)


def test_an_opponent_of_this_kind_is_opened_from_its_parameters(serve, make_params, tmp_path):
    server = serve()
    opponent = Opponent(engine="openai", model="m", base_url=server.base_url, system="Be brief.")
    engine = open_opponent(
        opponent, parse_params(make_params(), "here"), Paths(tmp_path), where="opponents.x"
    )
    engine.respond(HELLO, Sampling())
    engine.close()
    assert server.requests[0].body["messages"][0]["content"] == "Be brief."
    with pytest.raises(ValidationError, match="needs 'base_url'"):
        Opponent(engine="openai", model="m")


def test_usage_that_is_missing_is_guessed_from_the_lengths(serve, connect):
    body = completion("four words of text")
    del body["usage"]
    server = serve(lambda request: Reply(body=body))
    (found,) = connect(server).respond(HELLO, Sampling())
    assert found[:4] == Completion("four words of text", "stop", 2, 5, 0)[:4]  # 5 // 4 + 1 and 18 // 4 + 1


def test_tokens_are_guessed_by_bytes_so_that_chinese_is_not_taken_for_a_quarter(serve, connect):
    body = completion("它流入黑海。")
    del body["usage"]
    server = serve(lambda request: Reply(body=body))
    asked = [[Turn(role="user", content="哪条河？")]]
    (found,) = connect(server).respond(asked, Sampling())
    assert found[2:4] == (4, 5)  # 12 // 4 + 1 and 18 // 4 + 1


def test_a_model_that_ended_at_once_has_said_nothing(serve, connect):
    server = serve(lambda request: Reply(body=completion("", tokens=1)))
    assert connect(server).respond(HELLO, Sampling())[0][:2] == ("", "stop")


def test_no_minute_holds_more_requests_or_tokens_than_allowed():
    now = [0.0]
    pace = RateLimiter(requests=60, tokens=6000, clock=lambda: now[0])
    # 60 a minute: one a second; of 300 tokens at 100 a second: one in three seconds.
    assert [round(pace.reserve(10), 6) for _ in range(3)] == [0, 1, 2]
    assert [round(pace.reserve(300), 6) for _ in range(3)] == [3, 6, 9]
    pace.settle(300, 100)  # used 200 tokens less: two seconds sooner
    assert round(pace.reserve(10), 6) == 10
    now[0] = 100.0
    assert pace.reserve(10) == 0  # what was not used is not saved up
    assert round(pace.reserve(10), 6) == 1


def test_a_limit_spaces_the_requests(serve, connect):
    server = serve()
    start = time.monotonic()
    connect(server, requests_per_minute=1200).respond(HELLO * 11, Sampling())
    assert time.monotonic() - start >= 0.5  # ten gaps of 50 ms


def test_retry_after_is_read_in_all_its_forms():
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert retry_after({"retry-after": "2"}) == 2
    assert retry_after({"retry-after-ms": "1500", "retry-after": "2"}) == 1.5
    assert 25 < (retry_after({"retry-after": later}) or 0) <= 30
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({}) is None
    assert retry_in("Rate limit reached. Please try again in 6m0.5s. Visit ...") == 360.5
    assert retry_in("Please retry after 6 seconds.") == 6
    assert retry_in("try again in 20ms") == 0.02
    assert retry_in('{"@type": "RetryInfo", "retryDelay": "34s"}') == 34
    assert retry_in("try again in 1h2m") == 3720
    assert retry_in("try again later") is None


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        [],
        {"content": None},
        {"content": [{"token": "a"}]},
        {"content": [{"token": 1, "top_logprobs": []}]},
    ]
    + [
        {"content": [{"token": "a", "top_logprobs": [other]}]}
        for other in ({"token": "a", "logprob": "x"}, 3)
    ],
)
def test_probabilities_that_are_missing_or_malformed_are_none_and_the_answer_stands(logprobs, serve, connect):
    reply = completion("fine")
    reply["choices"][0]["logprobs"] = logprobs
    server = serve(lambda _: Reply(body=reply))
    ((_, answer),) = next(iter(connect(server).respond_with_logprobs(HELLO, Sampling(), 3)))
    assert (answer.text, answer.tokens) == ("fine", ())
    assert server.requests[0].body["top_logprobs"] == 3


def test_any_script_goes_out_and_comes_back_as_it_is_and_half_a_character_is_replaced(
    serve, connect, tmp_path, make_instruction
):
    said = {f.turns[-1]: f.good for f in FOREIGN.values()}

    def raw(request):  # UTF-8 as it is, not escaped as Python's json would
        text = said[request.body["messages"][-1]["content"]]
        return Reply(body=json.dumps(completion(text), ensure_ascii=False))

    server = serve(raw)
    instructions = [f.instruction(f"f{n}") for n, f in enumerate(FOREIGN.values())]
    with Store(tmp_path / "store.sqlite") as store:
        contestant = Contestant("x", connect(server, system=FOREIGN["Arabic"].system), Sampling())
        asked = ask_contestant_for(contestant, instructions, store)
        assert [r.text for r in asked.responses] == list(said.values())
        assert ask_contestant_for(contestant, instructions, store).responses == asked.responses
        sent = [[m["content"] for m in request.body["messages"]] for request in server.requests]
        assert sorted(sent) == sorted([FOREIGN["Arabic"].system, *f.turns] for f in FOREIGN.values())
        # An answer that was cut off in the midst of an emoji: JSON can hold that, and neither store nor file.
        server.script = lambda _: Reply(body=json.dumps(completion("cut \ud83d", "length")))
        half = ask_contestant_for(contestant, [make_instruction("h")], store).responses[0]
    assert (half.text, half.finish_reason) == ("cut \ufffd", "length")
