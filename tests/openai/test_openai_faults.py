"""Whatever an endpoint does, the answers are those of an undisturbed run, and what is paid twice is counted."""

from __future__ import annotations

import pytest
from endpoint import Reply, Request, completion

from arena_learning.arena import Contestant, ask_contestant_for
from arena_learning.core.errors import ArenaError
from arena_learning.engines.base import Refused
from arena_learning.params.contestants import Sampling
from arena_learning.schema.rows import Turn
from arena_learning.store.store import Store

COUNT = 60


def conversations(count=COUNT):
    return [[Turn(role="user", content=f"Question {n}")] for n in range(count)]


def place(request: Request) -> int:
    return int(request.body["messages"][-1]["content"].split()[-1])


def sometimes(reply: Reply, every: int = 4, times: int = 1):
    """Misbehave on every fourth question, the first ``times`` that it comes."""
    return lambda request: reply if place(request) % every == 0 and request.times <= times else None


WHOLE = completion("wrong answer")
FAULTS = {
    "empty body": Reply(body=""),
    "half JSON": Reply(body='{"id": "c1", "choices": [{"index": 0, "mess'),
    "not JSON": Reply(body="<html>Bad gateway</html>"),
    "deep JSON": Reply(body="[" * 20_000),
    "another JSON": Reply(body={"object": "list", "data": []}),
    "an error with status 200": Reply(body={"error": {"message": "out of memory"}}),
    "no choices": Reply(body={**WHOLE, "choices": []}),
    "choices of another type": Reply(body={**WHOLE, "choices": "none"}),
    "null text": Reply(body=completion(None)),
    "a number for text": Reply(body=completion(7)),
    "an empty answer": Reply(body=completion("", tokens=0)),
    "an aborted answer": Reply(body=completion("half an ans", finish="abort")),
    "an answer that the server broke off": Reply(body=completion("half an ans", finish="ERROR")),
    "an error with a status inside of status 200": Reply(body={"error": {"message": "busy", "code": 503}}),
    "connection broken before the head": Reply(body=WHOLE, cut=0),
    "connection broken in the body": Reply(body=WHOLE, cut=30),
    "slow": Reply(body=WHOLE, slow=3.0),
    **{
        f"status {s}": Reply(s, {"error": {"message": "x"}}) for s in (408, 409, 429, 500, 502, 503, 504, 529)
    },
    "429 with Retry-After": Reply(429, "", (("Retry-After", "0.05"),)),
    "503 with Retry-After as a date": Reply(503, "", (("Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT"),)),
}
PERHAPS_PAID = {n for n in FAULTS if not n.startswith(("status", "429", "503"))}


@pytest.fixture(scope="module")
def undisturbed():
    from endpoint import FakeEndpoint

    from arena_learning.engines.openai.engine import OpenAi
    from arena_learning.params import Endpoint

    with FakeEndpoint() as server:
        engine = OpenAi("m", Endpoint(base_url=server.base_url))
        texts = [c.text for c in engine.respond(conversations(), Sampling())]
        engine.close()
    return texts


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_passes_changes_no_answer_and_is_counted(fault, serve, connect, undisturbed, capsys):
    server = serve(sometimes(FAULTS[fault]))
    engine = connect(server, timeout=0.5 if fault == "slow" else 5.0)
    assert [c.text for c in engine.respond(conversations(), Sampling())] == undisturbed
    assert len(server.requests) == COUNT + 15  # every fourth of sixty is sent twice
    assert engine.maybe_twice == (15 if fault in PERHAPS_PAID else 0)
    said = capsys.readouterr().err
    assert f"{COUNT} answers from {COUNT + 15} requests" in said
    assert f"{engine.maybe_twice} may have been generated twice" in said


def test_a_storm_of_429_pauses_everyone_and_passes(serve, connect, undisturbed):
    storm = Reply(429, "", (("retry-after-ms", "60"),))
    server = serve(lambda request: storm if request.number <= 40 else None)
    engine = connect(server)
    assert [c.text for c in engine.respond(conversations(), Sampling())] == undisturbed
    # Eight are in flight; each storm stops all of them, so that it takes five pauses, not forty.
    assert len(server.requests) == COUNT + 40


def test_a_busy_endpoint_that_still_answers_is_not_given_up(serve, connect, undisturbed):
    # Question 0 is turned away 12 times, twice as often as retries allow, while the others are answered.
    server = serve(lambda r: Reply(429) if place(r) == 0 and r.times <= 12 else None, latency=0.02)
    engine = connect(server, retries=6, first_wait=0.001, concurrency=2)
    assert [c.text for c in engine.respond(conversations(), Sampling())] == undisturbed


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("status 500", "the endpoint is down: 4 attempts"),
        ("connection broken before the head", "the endpoint is down: 4 attempts"),
        ("429 with Retry-After", "the endpoint accepts no more requests: 4 attempts"),
    ],
)
def test_an_endpoint_that_stays_down_stops_clearly_and_keeps_what_was_answered(
    fault, said, serve, connect, tmp_path, make_instruction
):
    server = serve(lambda request: FAULTS[fault] if request.number > 20 else None)
    instructions = [make_instruction(f"i{n}", f"Question {n}") for n in range(COUNT)]
    engine = connect(server, retries=3)
    with Store(tmp_path / "store.sqlite") as store:
        with pytest.raises(ArenaError, match=said) as caught:
            ask_contestant_for(Contestant("x", engine, Sampling()), instructions, store)
        assert server.base_url in str(caught.value)
        assert "opponents.x" in str(caught.value)
        assert store.count("response") == 20
        # Eight in flight, four attempts each, and as many again for those that still saw others answered.
        assert len(server.requests) <= 20 + 2 * 8 * 4
        server.script = None
        asked = ask_contestant_for(Contestant("x", engine, Sampling()), instructions, store)
    assert asked.generated == COUNT - 20
    assert [r.text for r in asked.responses] == [c.text for c in engine.respond(conversations(), Sampling())]


def test_an_endpoint_that_is_not_there_is_named(connect):
    class Nowhere:
        base_url = "http://127.0.0.1:9/v1"

    with pytest.raises(ArenaError, match=r"down: 2 attempts.*ConnectError") as caught:
        connect(Nowhere, retries=1).respond(conversations(3), Sampling())
    assert "127.0.0.1:9" in str(caught.value)
    assert "run again" in caught.value.hint


def test_a_question_that_always_fails_is_refused_and_the_others_are_answered(serve, connect):
    server = serve(lambda request: Reply(500) if place(request) == 3 else None, latency=0.01)
    found = connect(server, retries=3, concurrency=2).respond(conversations(), Sampling())
    assert found[3] == Refused("4 attempts failed, the last by status 500", passing=True)
    assert [n for n, answer in enumerate(found) if isinstance(answer, Refused)] == [3]


def test_a_server_that_answers_is_never_down_and_a_wrong_address_is_told(serve, connect):
    # With status 200 for everything and no completion in it: a page of a proxy, say. Two attempts each; the twentieth
    # conversation without an answer ends it, with at most eight in flight.
    server = serve(lambda request: Reply(body="<html>Welcome</html>"))
    with pytest.raises(ArenaError, match=r"20 conversations in a row got no answer.*not JSON") as caught:
        connect(server, retries=1).respond(conversations(), Sampling())
    assert "down" not in str(caught.value)
    assert "base_url" in caught.value.hint
    assert len(server.requests) <= 2 * (20 + 8)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (
            Reply(400, {"error": {"message": "context length exceeded"}}),
            "status 400: context length exceeded",
        ),
        (Reply(413, "too large"), "status 413: too large"),
        (Reply(422, {"detail": "bad role"}), "status 422"),
        (Reply(body=completion("...", finish="content_filter")), "content filter"),
    ],
)
def test_a_question_that_is_refused_is_not_sent_again(reply, reason, serve, connect):
    server = serve(lambda request: reply if place(request) == 3 else None)
    found = dict(pair for group in connect(server).stream(conversations(), Sampling()) for pair in group)
    assert sorted(found) == list(range(COUNT))
    assert [n for n, a in found.items() if isinstance(a, Refused)] == [3]
    assert reason in found[3].reason
    assert len(server.requests) == COUNT
    assert connect(server).respond(conversations(), Sampling())[3] == found[3]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_would_meet_every_request_stops_at_once(status, serve, connect):
    server = serve(lambda request: Reply(status, {"error": {"message": "no such model"}}))
    with pytest.raises(ArenaError, match=f"status {status}: no such model") as caught:
        connect(server).respond(conversations(), Sampling())
    assert len(server.requests) == 1
    assert "check" in caught.value.hint


def test_a_field_that_every_request_is_refused_for_stops_after_twenty(serve, connect):
    server = serve(lambda request: Reply(400, {"error": {"message": "unknown field top_p"}}))
    with pytest.raises(ArenaError, match="refuses every request: status 400: unknown field top_p") as caught:
        connect(server).respond(conversations(), Sampling())
    assert len(server.requests) <= 20 + 8
    assert "omit" in caught.value.hint


def test_a_pause_of_hours_is_told_and_not_waited_for(serve, connect):
    server = serve(lambda request: Reply(429, "", (("Retry-After", "7200"),)))
    with pytest.raises(ArenaError, match="asks to wait 7200 s"):
        connect(server).respond(conversations(), Sampling())


def test_no_more_are_in_flight_than_allowed_and_no_place_stays_empty(serve, connect):
    # A batch would wait for its slowest: here each tenth is ten times as slow, and all places stay taken.
    server = serve(
        lambda request: Reply(body=completion("x"), slow=0.2 if place(request) % 10 == 0 else 0.02)
    )
    connect(server, concurrency=5).respond(conversations(), Sampling())
    assert server.most_in_flight == 5


def test_leaving_early_cancels_what_is_in_flight(serve, connect):
    server = serve(latency=0.05)
    engine = connect(server, concurrency=4)
    stream = engine.stream(conversations(), Sampling())
    first = next(stream)
    stream.close()
    assert len(server.requests) <= len(first) + 12
    assert len(engine.respond(conversations(3), Sampling())) == 3
