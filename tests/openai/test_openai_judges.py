"""A judge behind an endpoint: structured verdicts, expected values, and the same battles whatever the endpoint does."""

from __future__ import annotations

import random
from contextlib import nullcontext
from itertools import combinations
from math import log

import pytest
from endpoint import FakeEndpoint, Reply, completion

from arena_learning.core.errors import ArenaError
from arena_learning.core.paths import Paths
from arena_learning.judge.build import open_judge
from arena_learning.judge.play import Pairing, play_games
from arena_learning.params import parse_params
from arena_learning.store.store import Store

GAMES = 400
NAMES = "abcde"


@pytest.fixture
def open_on(tmp_path, make_params):
    """Open a judge on an endpoint as params.yaml describes it."""
    opened = []

    def make(server, **fields):
        judge = {"kind": "llm", "engine": "openai", "model": "m", "base_url": server.base_url, **fields}
        params = parse_params(make_params(judges={"rubric": judge}), "here")
        opened.append(open_judge("rubric", params, Paths(tmp_path)))
        opened[-1]._engine._first_wait = 0.005
        return opened[-1]

    yield make
    for judge in opened:
        judge.close()


def battle(judge, path, make_instruction, make_response, instructions=1, names="ab"):
    known = {f"i{n}": make_instruction(f"i{n}", f"Question {n}?") for n in range(instructions)}
    responses = {(i, c): make_response(i, c, f"{c} answers {i}") for i in known for c in names}
    pairs = [Pairing(i, x, y) for i in known for x, y in combinations(names, 2)]
    with Store(path) as store:
        return play_games(pairs, known, responses, judge, store)


def test_a_structured_verdict_is_asked_for_by_schema(
    tmp_path, serve, open_on, make_instruction, make_response
):
    def script(request):
        held = request.body["response_format"]["json_schema"]
        assert held["strict"] is True
        assert list(held["schema"]["properties"]) == ["explanation", "Score-A", "Score-B"]
        return Reply(body=completion('{"explanation": "because", "Score-A": 8, "Score-B": 3}'))

    judge = open_on(serve(script), template="json", scores="structured")
    judged = battle(judge, tmp_path / "s.sqlite", make_instruction, make_response)
    assert [(g.score_first, g.score_second) for g in judged.games] == [(8, 3), (8, 3)]


def test_expected_scores_are_read_from_an_endpoints_logprobs(
    tmp_path, serve, open_on, make_instruction, make_response
):
    def weighed(text, **others):
        likely = [{"token": t, "logprob": log(p)} for t, p in (others or {text: 1.0}).items()]
        return {"token": text, "logprob": likely[0]["logprob"], "top_logprobs": likely}

    def script(request):
        assert (request.body["logprobs"], request.body["top_logprobs"]) == (True, 20)
        reply = completion("Score-A: 7\nScore-B: 4")
        content = [
            weighed("Score-A: "),
            weighed("7", **{"7": 0.5, "9": 0.5}),
            weighed("\nScore-B: "),
            weighed("4"),
        ]
        reply["choices"][0]["logprobs"] = {"content": content}
        return Reply(body=reply)

    judge = open_on(serve(script), scores="expected")
    judged = battle(judge, tmp_path / "s.sqlite", make_instruction, make_response)
    assert [(g.score_first, g.score_second) for g in judged.games] == [(pytest.approx(8), 4)] * 2


def test_a_prompt_that_is_always_answered_without_text_is_unscored_and_stops_no_run(
    tmp_path, serve, open_on, make_instruction, make_response
):
    # The third of four questions, in both orders: three requests each; a second run remembers that it is unscored.
    server = serve(
        lambda r: Reply(
            body=completion(None if "Question 2?" in str(r.body["messages"]) else "Score-A: 7\nScore-B: 4")
        )
    )
    for requests in (6 + 2 * 3, 0):
        before = len(server.requests)
        judged = battle(
            open_on(server, retries=2), tmp_path / "s.sqlite", make_instruction, make_response, instructions=4
        )
        assert [(g.instruction_id, g.unscored) for g in judged.games if g.unscored] == [
            ("i2", "the judge was refused: an empty answer, 3 times")
        ] * 2
        assert len(judged.games) == 8
        assert len(server.requests) - before == requests


def verdict(request):
    """Score by the prompt's bytes, so that an answer is the same however often it is asked."""
    number = sum(request.body["messages"][-1]["content"].encode())
    return f"Score-A: {number % 10 + 1}\nScore-B: {number // 10 % 10 + 1}\nExplanation: the bytes add up"


def faults(seed):
    """Return a script that answers every seventh request or so with some fault, and counts which."""
    draw = random.Random(seed)
    whole = completion("Score-A: 10\nScore-B: 10")
    kinds = {
        "empty": Reply(body=""),
        "half JSON": Reply(body='{"id": "c1", "choices": [{"index": 0, "mess'),
        "wrong": Reply(body={"object": "list", "data": []}),
        "not JSON": Reply(body="<html>Bad gateway</html>"),
        "500": Reply(500, "oops"),
        "503": Reply(503, "busy"),
        "429": Reply(429, "slow down", (("retry-after-ms", "5"),)),
        "cut off": Reply(body=whole, cut=40),
        "dropped": Reply(body=whole, cut=0),
        "slow": Reply(body=whole, slow=4.0),
    }
    met = dict.fromkeys(kinds, 0)

    def script(request):
        kind = draw.choice(list(kinds)) if draw.random() < 1 / 7 else None
        if kind == "slow" and met["slow"] >= 5:
            kind = None
        if kind is None:
            return Reply(body=completion(verdict(request)))
        met[kind] += 1
        return kinds[kind]

    return script, met


@pytest.mark.slow
def test_games_through_every_fault_are_those_of_a_quiet_endpoint(
    tmp_path, serve, open_on, make_instruction, make_response, capsys
):
    script, met = faults(seed=3)
    quiet = serve(lambda request: Reply(body=completion(verdict(request))))
    stormy = serve(script)
    found = []
    for name, server in (("quiet", quiet), ("stormy", stormy)):
        judge = open_on(server, concurrency=16, timeout=0.6, retries=20)
        found.append(
            battle(judge, tmp_path / f"{name}.sqlite", make_instruction, make_response, GAMES // 20, NAMES)
        )
    one, two = (
        [(b.instruction_id, b.a, b.b, b.score_a, b.score_b, b.winner) for b in j.battles] for j in found
    )
    assert one == two
    assert len(found[1].games) == GAMES == len(quiet.requests)
    assert all(game.unscored is None for game in found[1].games)
    assert min(met.values()) > 0, "every fault was met"
    assert len(stormy.requests) == GAMES + sum(met.values()), "a fault costs one request, and no more"
    perhaps = sum(
        met[kind] for kind in ("empty", "half JSON", "wrong", "not JSON", "cut off", "dropped", "slow")
    )
    assert judge._engine.maybe_twice == perhaps
    with capsys.disabled():
        print(f"\n{GAMES} games, {len(stormy.requests)} requests, {met}, {perhaps} may be paid twice")


@pytest.mark.slow
def test_an_endpoint_that_dies_again_and_again_costs_what_was_in_flight(
    tmp_path, open_on, make_instruction, make_response, capsys
):
    """The server goes away in the midst of a run, five times; each time the run stops, and is started again."""
    in_flight, deaths = 16, (30, 90, 160, 250, 380)
    paid = []

    def script(request):
        paid.append(request.body["messages"][-1]["content"])
        return Reply(body=completion(verdict(request)))

    for last in (*deaths, None):

        def dying(request, last=last):
            return Reply(500, "") if last and len(paid) >= last else script(request)

        with FakeEndpoint(dying, latency=0.002) as server:
            judge = open_on(server, concurrency=in_flight, retries=1)
            judge.fingerprint = {"judge": "the same"}  # another port is another endpoint otherwise
            with pytest.raises(ArenaError, match="the endpoint is down") if last else nullcontext():
                judged = battle(
                    judge, tmp_path / "s.sqlite", make_instruction, make_response, GAMES // 20, NAMES
                )
    twice = len(paid) - len(set(paid))
    assert len(set(paid)) == GAMES == len(judged.games)
    with capsys.disabled():
        print(
            f"\n{len(deaths)} deaths, {GAMES} games, {twice} paid twice, {in_flight * len(deaths)} in flight"
        )
    assert twice <= in_flight * len(deaths)
