"""A round's contestants behind endpoints are asked at the same time, and end together: by an error, a budget, Ctrl-C."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from importlib.util import find_spec

import pytest
from batch_server import BatchServer
from endpoint import Reply, completion

import arena_learning.engines
from arena_learning.arena import ask_contestant, battle_round
from arena_learning.core import ArenaError, Paths, read_json
from arena_learning.core.deadline import STOP_AT
from arena_learning.engines import Completion
from arena_learning.params import Sampling, parse_params
from arena_learning.schema import Instruction, Response, Turn, read_rows, write_rows
from arena_learning.store import Store

COUNT = 40
ROUND = "sft-i1"
PROMPT, WORDS = 9, 5  # tokens of every answer
LONGEST = 90  # tokens that an answer might take: its text is short, and 16 tokens are allowed
ALL = ("base", "file", "one", "two")
PATIENCE = 60  # seconds until a test that hangs fails


class Local:
    """The target, in this process; ``before`` is called before each batch."""

    batch_size, batch_exact = 16, True

    def __init__(self, before=lambda: None):
        self.fingerprint = {"engine": "local", "version": "1"}
        self.before, self.asked = before, 0

    def respond(self, conversations, sampling):
        self.before()
        self.asked += len(conversations)
        return [Completion(f"base: {c[-1].content}", "stop", PROMPT, WORDS, 0.1) for c in conversations]

    def close(self):
        pass


def reply(request):
    said = f"{request.body['model']}: {request.body['messages'][-1]['content']}"
    return Reply(body=completion(said, tokens=WORDS, prompt=PROMPT))


def first(act):
    """Let a script do something at the first request."""

    def script(request):
        if request.number == 1:
            act()
        return reply(request)

    return script


@pytest.fixture
def servers(serve):
    return serve(reply), serve(reply)


@pytest.fixture
def project(tmp_path, make_params, servers, monkeypatch):
    """Make a round of a local target, a recorded opponent and two behind endpoints; returns parameters and paths."""
    real = arena_learning.engines.open_engine

    def make(root="project", local=None, endpoints=None, **fields):
        engine = local or Local()
        monkeypatch.setattr(
            arena_learning.engines,
            "open_engine",
            lambda name, *rest: engine if name == "base" else real(name, *rest),
        )
        paths = Paths(tmp_path / root)
        lines = [json.dumps({"id": f"q{n:02d}", "text": f"file: {n}"}) for n in range(COUNT)]
        paths.root.mkdir(exist_ok=True)
        (paths.root / "file.jsonl").write_text("\n".join(lines), encoding="utf-8")
        served = {"engine": "openai", "concurrency": 1}
        named = {
            name: {**served, "base_url": server.base_url, "model": name}
            for name, server in zip(("one", "two"), servers, strict=True)
        }
        for name, changed in (endpoints or {}).items():
            named[name] |= changed
        opponents = {"file": {"engine": "recorded", "model": "file.jsonl"}, **named}
        raw = make_params(opponents=opponents, sampling={"max_tokens": 16}, **fields)
        write_rows(
            paths.split("d1"),
            [
                Instruction(id=f"q{n:02d}", turns=(Turn(role="user", content=f"Question {n}?"),))
                for n in range(COUNT)
            ],
        )
        return parse_params(raw, "here"), paths

    return make


def play(project):
    params, paths = project
    return battle_round(ROUND, params, paths)


def made(paths):
    """What each contestant has made, as the store has booked it."""
    found = Counter()
    with Store(paths.store) as store:
        for row in store.spending_rows():
            found[row.name] += row.made
    return found


def tokens_spent(paths):
    with Store(paths.store) as store:
        return store.spent()["tokens"]


def left_running():
    return [one.name for one in threading.enumerate() if one.name.startswith(("ask ", "openai"))]


def written(paths):
    """The files of the stage; of its metrics all but the times."""
    metrics = read_json(paths.stage_metrics(ROUND, "battle"))
    for one in metrics["contestants"].values():
        one.pop("seconds"), one.pop("tokens_per_second")
    return paths.responses(ROUND).read_bytes(), paths.samples(ROUND).read_bytes(), json.dumps(metrics)


def test_nobody_waits_for_another(project, servers):
    """No server, and no local engine, gives its first answer before all three have been asked."""
    everybody = threading.Barrier(3, timeout=PATIENCE)
    met = []
    local = Local()

    def meet():
        met.append(everybody.wait())

    def meet_once():
        if not local.asked:
            meet()

    local.before = meet_once
    for server in servers:
        server.script = first(meet)
    metrics = play(project(local=local))
    assert sorted(met) == [0, 1, 2]
    assert [len(server.requests) for server in servers] == [COUNT, COUNT]
    assert metrics["generated"] == 4 * COUNT
    assert left_running() == []


def test_files_are_those_of_one_after_the_other(project, servers):
    params, paths = project("apart")
    for name in ALL:
        ask_contestant(name, read_rows(paths.split("d1"), Instruction), params, paths)
    assert battle_round(ROUND, params, paths)["generated"] == 0
    apart = written(paths)
    params, paths = project("together")
    assert battle_round(ROUND, params, paths)["generated"] == 4 * COUNT
    assert written(paths) == apart
    assert list(read_json(paths.stage_metrics(ROUND, "battle"))["contestants"]) == list(ALL)
    asked = [len(server.requests) for server in servers]
    before = paths.stage_metrics(ROUND, "battle").read_bytes()
    assert battle_round(ROUND, params, paths)["generated"] == 0
    assert [len(server.requests) for server in servers] == asked
    assert paths.stage_metrics(ROUND, "battle").read_bytes() == before


def test_one_model_under_two_names_is_asked_once(project, servers):
    same = {"model": "one", "base_url": servers[0].base_url}
    params, paths = project(endpoints={"two": same})
    metrics = battle_round(ROUND, params, paths)
    assert set(servers[0].seen.values()) == {1}
    assert metrics["generated"] == 3 * COUNT
    texts = Counter((r.instruction_id, r.text) for r in read_rows(paths.responses(ROUND), Response))
    assert Counter(texts.values()) == {2: COUNT, 1: 2 * COUNT}


def test_an_error_of_one_keeps_what_the_others_have_answered(project, servers):
    one, two = servers
    enough = threading.Event()

    def answering(request):
        if request.number == 6:  # the first five have been answered
            enough.set()
        return reply(request)._replace(slow=0.02)

    def refusing(request):
        assert enough.wait(PATIENCE)
        return Reply(401, "no such key")

    one.script, two.script = answering, refusing
    params, paths = project()
    with pytest.raises(ArenaError, match="the endpoint refuses") as caught:
        battle_round(ROUND, params, paths)
    assert caught.value.where.startswith("opponents.two")
    assert left_running() == []
    assert not paths.responses(ROUND).exists()
    kept = made(paths)["one"]
    assert 5 <= kept <= len(one.requests)
    asked = len(one.requests)
    one.script = two.script = reply
    battle_round(ROUND, params, paths)
    assert len(one.requests) - asked == COUNT - kept
    assert len(read_rows(paths.responses(ROUND), Response)) == 4 * COUNT


def test_an_error_of_the_local_engine_ends_endpoints_that_do_not_answer(project, servers):
    hang = threading.Barrier(3, timeout=PATIENCE)

    def hanging(request):
        hang.wait()
        return reply(request)._replace(slow=10 * PATIENCE)

    def fail():
        hang.wait()
        raise ArenaError("the machine is gone")

    for server in servers:
        server.script = hanging
    with pytest.raises(ArenaError, match="the machine is gone"):
        play(project(local=Local(before=fail)))
    assert left_running() == []


def test_of_two_errors_the_first_is_raised_and_the_other_is_a_warning(project, servers, capsys):
    both = threading.Barrier(2, timeout=PATIENCE)

    def refusing(request):
        both.wait()
        return Reply(401, "no such key")

    for server in servers:
        server.script = refusing
    with pytest.raises(ArenaError) as caught:
        play(project())
    assert caught.value.where.startswith("opponents.one")
    told = capsys.readouterr().err
    assert "warning: 'two' failed too: opponents.two" in told
    assert "Traceback" not in told


def test_a_key_that_is_missing_is_told_before_anybody_is_asked(project, servers, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    local = Local()
    with pytest.raises(ArenaError, match="NO_SUCH_KEY is not set"):
        play(project(local=local, endpoints={"two": {"api_key_env": "NO_SUCH_KEY"}}))
    assert ([len(server.requests) for server in servers], local.asked) == ([0, 0], 0)


@pytest.mark.parametrize("tokens", [700, 1000, 1300, 1600])
def test_a_budget_ends_all_and_nothing_is_lost_or_asked_again(project, servers, tokens, capsys):
    """All take 3 x 40 x 14 = 1,680 tokens."""
    local = Local()
    with pytest.raises(ArenaError, match="might take more than the rest; missing: ") as caught:
        play(project(local=local, budget={"tokens": tokens}))
    assert caught.value.where == "params.yaml, budget.tokens"
    assert "failed too" not in capsys.readouterr().err
    assert left_running() == []
    params, paths = project(local=local)
    asked = {"base": local.asked, "one": len(servers[0].requests), "two": len(servers[1].requests)}
    kept = made(paths)
    assert {name: kept[name] for name in asked} == asked
    spent = tokens_spent(paths)
    assert spent == (PROMPT + WORDS) * sum(asked.values()) <= tokens
    assert tokens - spent < LONGEST  # it went as far as it could
    battle_round(ROUND, params, paths)
    assert [set(server.seen.values()) for server in servers] == [{1}, {1}]
    assert local.asked == COUNT


def test_the_hours_of_a_run_end_all_with_one_error(project, servers, monkeypatch, capsys):
    def script(request):
        if request.number == 20:  # in the second batch of 16
            monkeypatch.setenv(STOP_AT, f"{time.time() - 1} 2")
        return reply(request)

    for server in servers:
        server.script = script
    monkeypatch.setenv(STOP_AT, f"{time.time() + 600} 2")
    with pytest.raises(ArenaError, match="used up its 2 hours; missing: "):
        play(project())
    assert "failed too" not in capsys.readouterr().err
    params, paths = project()
    assert [made(paths)[name] for name in ("one", "two")] == [len(server.requests) for server in servers]
    monkeypatch.delenv(STOP_AT)
    for server in servers:
        server.script = reply
    battle_round(ROUND, params, paths)
    assert [set(server.seen.values()) for server in servers] == [{1}, {1}]


@pytest.fixture
def interruptible():
    """Ctrl-C raises, also where this process was started with SIGINT ignored, as in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_all_and_keeps_what_has_arrived(project, servers):
    """Both servers answer five and hang at the sixth; then Ctrl-C comes."""
    both = threading.Barrier(2, timeout=PATIENCE)

    def script(request):
        if request.number < 6:
            return reply(request)
        if both.wait() == 0:
            until = time.monotonic() + PATIENCE
            while [made(paths)[name] for name in ("one", "two")] != [5, 5] and time.monotonic() < until:
                time.sleep(0.01)  # what has come is stored a moment later
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        return reply(request)._replace(slow=10 * PATIENCE)

    for server in servers:
        server.script = script
    params, paths = project()
    with pytest.raises(KeyboardInterrupt):
        battle_round(ROUND, params, paths)
    assert left_running() == []
    assert [made(paths)[name] for name in ("one", "two")] == [5, 5]
    for server in servers:
        server.script = reply
    battle_round(ROUND, params, paths)
    assert [len(server.requests) for server in servers] == [COUNT + 1, COUNT + 1]


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_the_wait_for_a_batch_which_goes_on(project, servers):
    """One waits for a batch of the endpoint and looks once in ten minutes; Ctrl-C comes meanwhile."""

    def interrupt(request):
        while not any(batch["status"] == "in_progress" for batch in list(server.batches.values())):
            time.sleep(0.01)  # until it has looked once
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        return reply(request)._replace(slow=10 * PATIENCE)

    with BatchServer(held=True) as server:
        servers[1].script = interrupt
        slow = {"base_url": server.base_url, "batch": True, "batch_poll": 10.0 * PATIENCE}
        params, paths = project(endpoints={"one": slow})
        with pytest.raises(KeyboardInterrupt):
            battle_round(ROUND, params, paths)
        assert left_running() == []
        server.release()
        servers[1].script = reply
        params, paths = project(endpoints={"one": {**slow, "batch_poll": 0.01}})
        battle_round(ROUND, params, paths)
        assert len(server.batches) == 1
    assert len(read_rows(paths.responses(ROUND), Response)) == 4 * COUNT


def test_an_engine_that_another_thread_closes_stops_answering(serve, connect):
    asked, ended = threading.Event(), []

    def hang(request):
        asked.set()
        return Reply(slow=10 * PATIENCE)

    engine = connect(serve(hang))
    question = [[Turn(role="user", content="Question?")]]

    def ask():
        with pytest.raises(ArenaError, match="closed while it was answering"):
            engine.respond(question, Sampling())
        ended.append(True)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    assert asked.wait(PATIENCE)
    engine.close()
    thread.join(PATIENCE)
    assert ended == [True]
    ask()


OPENED = """
import sys
from arena_learning.engines.openai.engine import OpenAi
from arena_learning.params import Endpoint

OpenAi("m", Endpoint(base_url="http://localhost:1/v1")).close()
print(hasattr(sys.modules.get("httpx"), "Response"))
"""


@pytest.mark.skipif(find_spec("httpx") is None, reason="nothing here brings httpx")
def test_an_open_engine_finds_no_half_imported_library():
    """Its client looks into httpx, which the main thread may be importing for a local model meanwhile."""
    done = subprocess.run([sys.executable, "-c", OPENED], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "True", done.stderr
