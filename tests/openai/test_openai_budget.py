"""Endpoints under a budget: wherever it stops a run, all that was made is kept and the next run asks for none of it.

The plan of such a run is held against what it takes.
"""

from __future__ import annotations

import json
import time
from collections import Counter

import pytest
from endpoint import Reply, completion

from arena_learning.arena import answer_test
from arena_learning.core.deadline import STOP_AT
from arena_learning.core.errors import ArenaError
from arena_learning.core.paths import Paths
from arena_learning.leaderboard import evaluate_test
from arena_learning.params import parse_params
from arena_learning.project import forecast_dict, forecast_run
from arena_learning.project.plan import PlannedStage, RunPlan
from arena_learning.report import ledger_view, read_ledger
from arena_learning.schema import Game, Turn, read_rows, write_rows
from arena_learning.store import Store

STAGES = ("answer-opponent@one", "answer-opponent@two", "evaluate")
PRICES = {name: {"input": 1.0, "output": 5.0} for name in ("m1", "m2", "j")}
WORDS = 12  # tokens of an answer
SAID = 30  # tokens of a verdict
PROMPT = 25  # tokens of a prompt


def reply(request):
    """Answer at a fixed length; judge by the last digit of the answers."""
    if request.body["model"] == "j":
        said = json.dumps({"explanation": "so it is", "Score-A": 7, "Score-B": 4})
        return Reply(body=completion(said, tokens=SAID, prompt=4 * PROMPT))
    turn = request.body["messages"][-1]["content"]
    return Reply(body=completion(f"{request.body['model']} says {turn}", tokens=WORDS, prompt=PROMPT))


@pytest.fixture
def server(serve):
    return serve(reply)


@pytest.fixture
def project(tmp_path, make_params, make_instruction, server):
    """Make a leaderboard of two opponents under one judge, all at the endpoint; returns parameters and paths."""
    served = {"engine": "openai", "base_url": server.base_url, "concurrency": 1}
    paths = Paths(tmp_path)

    def make(count=30, **fields):
        raw = make_params()
        raw |= {
            "weights": {"source": "none"},
            "sampling": {"max_tokens": 16},
            "opponents": {"one": {**served, "model": "m1"}, "two": {**served, "model": "m2"}},
            "judges": {
                "j": {
                    **served,
                    "kind": "llm",
                    "model": "j",
                    "template": "json",
                    "max_tokens": 40,
                    "attempts": 1,
                }
            },
            "judge": {"name": "j"},
            "evaluate": {"judges": ["j"], "anchor": "one"},
            "rounds": {},
            "prices": PRICES,
        }
        instructions = [
            make_instruction(f"q{n:02d}", turns=(Turn(role="user", content=f"Question {n:02d}?"),))
            for n in range(count)
        ]
        write_rows(paths.split("test"), instructions)
        return parse_params({**raw, **fields}, "here"), paths

    return make


def run(params, paths):
    """Run the stages in order, as DVC would: up to the first that ends in an error."""
    answer_test("one", params, paths)
    answer_test("two", params, paths)
    evaluate_test(params, paths)


def kept(paths):
    with Store(paths.store) as store:
        return store.count("response") + store.count("game"), store.spent()


def whole_cost():
    """30 answers of each of two, and 60 games: tokens and money."""
    answers, games = 60 * (PROMPT + WORDS), 60 * (4 * PROMPT + SAID)
    money = (60 * (PROMPT + 5 * WORDS) + 60 * (4 * PROMPT + 5 * SAID)) / 1e6
    return answers + games, money


@pytest.mark.parametrize("tenth", range(10))
def test_ten_budgets_stop_at_ten_places_and_nothing_is_lost_or_asked_again(project, server, tenth):
    tokens, money = whole_cost()
    share = (tenth + 0.5) / 10
    limit = {"money": money * share} if tenth % 2 else {"tokens": int(tokens * share)}
    params, paths = project(budget=limit)
    with pytest.raises(ArenaError, match=r"missing: .* of (judge )?'(one|two|j)'") as stopped:
        run(params, paths)
    (what, most) = next(iter(limit.items()))
    assert stopped.value.where == f"params.yaml, budget.{what}"
    number, spent = kept(paths)
    assert number == len(server.requests)  # each answer that came is there
    assert spent[what] <= most
    # It went as far as it could: the longest request would have been too much.
    longest = {"tokens": 64 + 2000, "money": (64 + 2000 + 5 * 40) / 1e6}
    assert most - spent[what] < longest[what]
    params, paths = project()
    run(params, paths)
    assert set(server.seen.values()) == {1}
    assert kept(paths) == (120, {"money": pytest.approx(money), "tokens": tokens})
    assert len(read_rows(paths.arena_games, Game)) == 60


def test_the_places_are_ten_different_ones(project, server):
    tokens, _ = whole_cost()
    places = set()
    for tenth in range(10):
        params, paths = project(budget={"tokens": int(tokens * (tenth + 0.5) / 10)})
        with pytest.raises(ArenaError):
            run(params, paths)
        places.add(kept(paths)[0])
    assert len(places) == 10
    assert set(server.seen.values()) == {1}


def test_a_runs_hours_stop_it_between_two_batches(project, server, monkeypatch):
    def script(request):
        if len(server.requests) == 20:  # in the second batch of 16
            monkeypatch.setenv(STOP_AT, f"{time.time() - 1} 2")
        return reply(request)

    server.script = script
    params, paths = project()
    monkeypatch.setenv(STOP_AT, f"{time.time() + 600} 2")
    with pytest.raises(ArenaError, match="used up its 2 hours; missing: 30 answers of 'two'"):
        run(params, paths)
    assert kept(paths)[0] == len(server.requests) == 30
    monkeypatch.delenv(STOP_AT)
    server.script = reply
    run(params, paths)
    assert set(server.seen.values()) == {1}


def test_a_limit_of_money_needs_every_models_price(project):
    with pytest.raises(ArenaError, match=r"no price for 'm2' \(opponents.two\)"):
        project(budget={"money": 1.0}, prices={"m1": PRICES["m1"], "j": PRICES["j"]})


def plan_of(params, paths):
    stages = tuple(PlannedStage(name, True, None, False) for name in STAGES)
    told = forecast_dict(forecast_run(RunPlan(stages, ""), params, paths), params, kept(paths)[1])
    return told, {stage["stage"]: stage for stage in told["stages"]}


def test_a_plan_from_seen_lengths_is_what_the_run_takes(project, server):
    """30 instructions were answered and judged; the test set grows to 50, so 20 of each and 40 games are to be made."""
    run(*project())
    params, paths = project(count=50)
    told, stages = plan_of(params, paths)
    shares = {one["name"]: one for stage in stages.values() for one in stage["shares"]}
    assert [(shares[n]["wanted"], shares[n]["there"], shares[n]["to_make"]) for n in ("one", "two", "j")] == [
        (50, 30, 20),
        (50, 30, 20),
        (100, 60, 40),
    ]
    before = kept(paths)[1]
    asked = len(server.requests)
    run(params, paths)
    after = kept(paths)[1]
    assert len(server.requests) - asked == told["total"]["answers"] + told["total"]["games"] == 80
    total = told["total"]
    assert total["tokens_in"] + total["tokens_out"] == pytest.approx(after["tokens"] - before["tokens"])
    assert total["money"] == pytest.approx(after["money"] - before["money"])


def test_a_plan_before_anything_was_seen_is_an_upper_bound(project):
    params, paths = project()
    told, _ = plan_of(params, paths)
    run(params, paths)
    spent = kept(paths)[1]
    assert told["total"]["money"] >= spent["money"]
    assert told["total"]["tokens_out"] == 60 * 16 + 60 * 40  # the longest that is allowed
    assert told["total"]["stages_of_unknown_length"] == list(STAGES)


def test_a_plan_says_whether_it_fits_the_budget(project):
    run(*project())
    params, paths = project(count=31, budget={"money": 10.0, "tokens": 1})
    budget = plan_of(params, paths)[0]["budget"]
    assert budget["money"]["fits"] is True
    assert budget["tokens"]["fits"] is False


def test_the_ledger_has_each_contestant_and_judge(project, server):
    params, paths = project()
    run(params, paths)
    view = ledger_view(read_ledger(params, paths), params)
    rows = {row["name"]: row for row in view["rows"]}
    assert Counter(row["stage"] for row in view["rows"]) == {"answer": 2, "evaluate": 1}
    assert [rows["one"][key] for key in ("made", "requests", "tokens_in", "tokens_out", "model")] == [
        30,
        30,
        30 * PROMPT,
        30 * WORDS,
        "m1",
    ]
    assert rows["j"]["money"] == pytest.approx((60 * 4 * PROMPT + 5 * 60 * SAID) / 1e6)
    assert view["total"]["money"] == pytest.approx(whole_cost()[1])
    assert view["by_judge"]["j"]["made"] == 60
    assert view["earlier"] == {}
