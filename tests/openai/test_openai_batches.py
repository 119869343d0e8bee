"""The Batch API against a real server: answers, failures of every kind, kills, and what is asked again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from batch_run import instructions
from batch_server import BatchServer, ok, refused, right
from endpoint import completion

from arena_learning.arena import Contestant, ask_contestant_for
from arena_learning.core import STOP_AT
from arena_learning.core.errors import ArenaError
from arena_learning.core.paths import Paths
from arena_learning.engines.base import Completion, Refused
from arena_learning.engines.build import open_opponent
from arena_learning.engines.openai import BatchOpenAi
from arena_learning.engines.openai import batch_records as records_of
from arena_learning.judge.build import open_judge
from arena_learning.params import Endpoint, Opponent, Sampling, parse_params
from arena_learning.schema.rows import Turn
from arena_learning.store import Store
from arena_learning.testing import EngineConformance
from arena_learning.testing.judge_suite import present

QUESTIONS = [[Turn(role="user", content=f"Question {n}?")] for n in range(6)]
RUN = Path(__file__).parent / "batch_run.py"


@pytest.fixture
def serve():
    """Start servers; all end with the test."""
    with ExitStack() as stack:
        yield lambda *args, **fields: stack.enter_context(BatchServer(*args, **fields))


@pytest.fixture
def connect(tmp_path):
    """Open engines on a server, with one folder of records; all are closed with the test."""
    with ExitStack() as stack:

        def make(server, **fields):
            told = {
                "base_url": server.base_url,
                "batch": True,
                "batch_poll": 0.01,
                "timeout": 5.0,
                "retries": 1,
            }
            engine = BatchOpenAi(
                "m", Endpoint(**{**told, **fields}), tmp_path / "batches", where="opponents.x"
            )
            stack.callback(engine.close)
            return engine

        yield make


def left(tmp_path) -> list[Path]:
    return sorted((tmp_path / "batches").glob("*.json"))


def number(body) -> int:
    return int(body["messages"][-1]["content"].split()[1].strip("?"))


class TestConformance(EngineConformance):
    @pytest.fixture
    def engine(self, serve, connect):
        return connect(serve())


def test_a_batch_gives_the_answers_of_single_requests_under_the_same_keys(serve, connect, tmp_path):
    from endpoint import FakeEndpoint

    from arena_learning.engines.openai.engine import OpenAi

    server = serve()
    engine = connect(server)
    with FakeEndpoint() as single:
        plain = OpenAi("m", Endpoint(base_url=single.base_url))
        expected = [a._replace(seconds=0) for a in plain.respond(QUESTIONS, Sampling())]
        plain.close()
    assert [a._replace(seconds=0) for a in engine.respond([*QUESTIONS, QUESTIONS[0]], Sampling())] == [
        *expected,
        expected[0],
    ]
    (lines,) = server.requests()
    assert len(lines) == 6  # equal conversations are one request
    assert lines[0]["body"]["messages"] == [{"role": "user", "content": "Question 0?"}]
    assert (lines[0]["body"]["temperature"], lines[0]["body"]["max_tokens"]) == (0.0, 160)
    assert server.batches["batch_1"]["completion_window"] == "24h"
    alone = OpenAi("m", Endpoint(base_url=server.base_url)).fingerprint
    assert engine.fingerprint == alone
    assert left(tmp_path) == []


def test_each_batch_holds_no_more_requests_than_is_allowed(serve, connect):
    server = serve()
    engine = connect(server, batch_requests=4)
    assert all(isinstance(a, Completion) for a in engine.respond(QUESTIONS, Sampling()))
    assert [len(lines) for lines in server.requests()] == [4, 2]
    assert engine.batch_size == 4


def test_characters_that_end_lines_elsewhere_are_kept(serve, connect):
    text = "one\u2028two\u0085three\x0cfour"
    engine = connect(serve(lambda body, _: ok(completion(text))))
    (found,) = engine.respond(QUESTIONS[:1], Sampling())
    assert found.text == text


def test_an_expired_batch_keeps_what_was_answered_and_asks_the_rest_once_more(
    serve, connect, tmp_path, capsys
):
    def script(body, batch):
        late = {"response": None, "error": {"code": "batch_expired", "message": "not in time"}}
        return late if batch == 1 and number(body) >= 4 else right(body, batch)

    server = serve(script, ends=("expired",))
    found = connect(server).respond(QUESTIONS, Sampling())
    assert all(isinstance(answer, Completion) for answer in found)
    assert [len(lines) for lines in server.requests()] == [6, 2]
    said = capsys.readouterr().err
    assert "batch batch_1: expired, 4 of 6 done, 2 failed" in said
    assert "4 answers, 2 requests without one (2 x batch_expired): asked once more" in said
    assert left(tmp_path) == []


@pytest.mark.parametrize("status", ["cancelled", "expired"])
def test_a_batch_that_ended_without_any_file_is_asked_once_more(serve, connect, status):
    server = serve(lambda body, batch: right(body, batch) if batch == 2 else None, ends=(status,))
    assert all(isinstance(a, Completion) for a in connect(server).respond(QUESTIONS, Sampling()))
    assert [len(lines) for lines in server.requests()] == [6, 6]


def test_single_errors_are_asked_once_more_and_then_refused_for_now(serve, connect, capsys):
    troubles = {
        1: refused(500, "it fell over"),
        2: refused(429, "slow down"),
        3: ok({"choices": []}),
        4: None,
    }

    def script(body, batch):
        n = number(body)
        return right(body, batch) if n not in troubles or (n == 1 and batch == 2) else troubles[n]

    server = serve(script)
    found = connect(server).respond(QUESTIONS, Sampling())
    assert [isinstance(answer, Completion) for answer in found] == [True, True, False, False, False, True]
    assert found[2] == Refused("no answer in two batches: status 429: slow down", passing=True)
    assert found[3].reason.startswith("no answer in two batches: no choice in it")
    assert found[4].reason == "no answer in two batches: no line in the batch's files"
    assert [len(lines) for lines in server.requests()] == [6, 4]
    assert "3 requests without one" in capsys.readouterr().err


def test_what_would_be_refused_again_is_not_asked_again(serve, connect):
    def script(body, batch):
        if number(body) == 1:
            return refused(400, "maximum context length is 10 tokens")
        return refused(400, "content_filter") if number(body) == 2 else right(body, batch)

    server = serve(script)
    found = connect(server).respond(QUESTIONS, Sampling())
    assert [type(answer) for answer in found[:4]] == [Completion, Refused, Refused, Completion]
    assert not found[1].passing
    assert "does not fit" in found[1].reason
    assert "content filter" in found[2].reason
    assert len(server.batches) == 1


def test_a_batch_whose_file_is_not_accepted_twice_stops_the_run_and_leaves_nothing_behind(
    serve, connect, tmp_path
):
    server = serve(ends=("failed", "failed"))
    with pytest.raises(ArenaError, match=r"failed batch batch_2.*Enqueued token limit reached") as caught:
        connect(server).respond(QUESTIONS, Sampling())
    assert "batch_requests" in caught.value.hint
    assert left(tmp_path) == []
    assert all(isinstance(a, Completion) for a in connect(server).respond(QUESTIONS, Sampling()))
    assert len(server.batches) == 3


def test_a_batch_that_the_endpoint_forgot_is_asked_once_more(serve, connect, tmp_path):
    server = serve(held=True)
    engine = connect(server, batch_wait=1e-6)
    with pytest.raises(ArenaError, match="batch_1 has not ended") as caught:
        engine.respond(QUESTIONS, Sampling())
    assert "not submitted again" in caught.value.hint
    del server.batches["batch_1"]
    server.batches["batch_0"] = {"input_file_id": "file-1"}  # so that the next one is batch_2
    server.release()
    assert all(isinstance(a, Completion) for a in connect(server).respond(QUESTIONS, Sampling()))
    assert left(tmp_path) == []


def test_a_run_that_stopped_waiting_takes_the_answers_up_later(serve, connect, tmp_path):
    server = serve(held=True)
    with pytest.raises(ArenaError, match="has not ended"):
        connect(server, batch_wait=1e-6).respond(QUESTIONS, Sampling())
    assert len(left(tmp_path)) == 1
    server.release()
    # Another run wants some of it, and something new; a third one the rest.
    more = [[Turn(role="user", content="Question 9?")]]
    first = connect(server).respond([*QUESTIONS[:4], *more], Sampling())
    assert all(isinstance(answer, Completion) for answer in first)
    assert [len(lines) for lines in server.requests()] == [6, 1]
    assert len(left(tmp_path)) == 1
    assert len(connect(server).respond(QUESTIONS[4:], Sampling())) == 2
    assert len(server.batches) == 2
    assert left(tmp_path) == []


def test_the_hours_of_a_run_end_its_wait_and_the_next_run_takes_the_answers_up(
    serve, connect, tmp_path, monkeypatch
):
    server = serve(held=True)
    monkeypatch.setenv(STOP_AT, f"{time.time() - 1} 2")
    with pytest.raises(ArenaError, match="used up its 2 hours; missing: 6 answers of batches, which go on"):
        connect(server).respond(QUESTIONS, Sampling())
    assert len(left(tmp_path)) == 1
    monkeypatch.delenv(STOP_AT)
    server.release()
    assert all(isinstance(answer, Completion) for answer in connect(server).respond(QUESTIONS, Sampling()))
    assert len(server.batches) == 1
    assert left(tmp_path) == []


def test_another_address_or_an_old_record_is_no_batch_of_this_run(serve, connect, tmp_path):
    server, other = serve(held=True), serve()
    with pytest.raises(ArenaError):
        connect(server, batch_wait=1e-6).respond(QUESTIONS, Sampling())
    assert len(connect(other).respond(QUESTIONS, Sampling())) == 6
    assert len(other.batches) == 1
    (file,) = left(tmp_path)
    old = json.loads(file.read_text()) | {"created": time.time() - records_of._KEPT_SECONDS - 1}
    file.write_text(json.dumps(old))
    server.release()
    assert len(connect(server).respond(QUESTIONS, Sampling())) == 6
    assert len(server.batches) == 2
    assert left(tmp_path) == []


def run(server, folder, count=12):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    return subprocess.Popen(
        [sys.executable, str(RUN), server.base_url, str(folder), str(count)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def killed_when(process, happened) -> None:
    until = time.monotonic() + 60
    while not happened():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def finish(process) -> int:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return int(out)


def stored(folder) -> int:
    with Store(folder / "store.sqlite") as store:
        return store.count("response")


def test_a_run_killed_while_it_waits_finds_its_batch_again(serve, tmp_path):
    server = serve(held=True)
    looks = "GET /v1/batches/batch_1"
    killed_when(run(server, tmp_path), lambda: server.calls.count(looks) > 2)
    assert len(left(tmp_path)) == 1
    again = run(server, tmp_path)
    seen = server.calls.count(looks)
    while server.calls.count(looks) <= seen:
        assert again.poll() is None, again.stderr.read()
        time.sleep(0.01)
    server.release()
    assert finish(again) == 12
    assert len(server.batches) == 1  # submitted once, polled by both
    assert stored(tmp_path) == 12
    assert left(tmp_path) == []


@pytest.mark.parametrize("lists", [True, False])
def test_a_run_killed_before_it_learnt_its_batchs_id_finds_it_by_its_mark(serve, tmp_path, lists):
    server = serve(slow_create=30.0, lists=lists)
    for _ in range(3):  # other batches of the account, so that the list has pages
        server.create({"input_file_id": server.store(b""), "metadata": {"arena_learning": "another"}})
    killed_when(run(server, tmp_path), lambda: len(server.batches) == 4)
    server.slow_create = 0.0
    assert json.loads(left(tmp_path)[0].read_text())["batch"] == ""
    assert finish(run(server, tmp_path)) == 12
    # An endpoint that lists no batches cannot tell that one was created.
    assert len(server.batches) == (4 if lists else 5)
    assert stored(tmp_path) == 12


def test_answers_stored_before_a_crash_are_not_asked_again_and_the_rest_comes_from_the_same_batch(
    serve, connect, tmp_path, monkeypatch
):
    from arena_learning.engines.openai import batch_engine

    monkeypatch.setattr(batch_engine, "_GROUP", 5)
    server = serve()

    class Dying(Store):
        puts = 0

        def put(self, kind, items, **spent):
            super().put(kind, items, **spent)
            Dying.puts += 1
            if Dying.puts == 1:
                raise KeyboardInterrupt

    def ask(store_kind):
        with store_kind(tmp_path / "store.sqlite") as store:
            contestant = Contestant("x", connect(server), Sampling())
            return ask_contestant_for(contestant, instructions(12), store)

    with pytest.raises(KeyboardInterrupt):
        ask(Dying)
    assert stored(tmp_path) == 5
    assert len(left(tmp_path)) == 1
    found = ask(Store)
    assert (found.generated, len(found.responses), len(server.batches)) == (7, 12, 1)
    # What was stored just before the crash stays in the record: nobody asks for it again. It goes after 30 days.
    (record,) = left(tmp_path)
    assert len(json.loads(record.read_text())["requests"]) == 5


def test_a_run_killed_after_it_submitted_the_rest_again_submits_it_no_third_time(serve, connect, tmp_path):
    def script(body, batch):
        return refused(500, "it fell over") if batch == 1 and number(body) == 3 else right(body, batch)

    server = serve(script)
    answers = connect(server).stream(QUESTIONS, Sampling())
    assert len(next(answers)) == 5
    answers.close()  # before the first batch's record is cleared
    assert len(left(tmp_path)) == 2
    assert all(isinstance(a, Completion) for a in connect(server).respond(QUESTIONS, Sampling()))
    assert [len(lines) for lines in server.requests()] == [6, 1]
    assert left(tmp_path) == []


def test_a_wrong_key_stops_the_run_and_stands_nowhere(serve, connect, tmp_path, monkeypatch):
    monkeypatch.setenv("BATCH_KEY", "wrong-secret")
    server = serve(key="right-secret")
    with pytest.raises(ArenaError, match="the endpoint refuses the batch: status 401") as caught:
        connect(server, api_key_env="BATCH_KEY").respond(QUESTIONS, Sampling())
    assert "wrong-secret" not in f"{caught.value} {[file.read_text() for file in left(tmp_path)]}"
    assert "BATCH_KEY" in caught.value.hint
    monkeypatch.setenv("BATCH_KEY", "right-secret")
    assert len(connect(server, api_key_env="BATCH_KEY").respond(QUESTIONS, Sampling())) == 6
    assert len(server.batches) == 1


def test_an_endpoint_without_batches_or_without_a_server_says_so(serve, connect):
    from endpoint import FakeEndpoint

    with FakeEndpoint() as gone:
        url = gone.base_url
    with pytest.raises(ArenaError, match="the endpoint is down: APIConnectionError"):
        connect(serve(), base_url=url, retries=0).respond(QUESTIONS, Sampling())
    server = serve()
    with pytest.raises(ArenaError, match="status 404") as caught:
        connect(server, base_url=f"{server.base_url}/elsewhere").respond(QUESTIONS, Sampling())
    assert "offers /files and /batches" in caught.value.hint


def test_contestants_and_judges_are_opened_with_a_batch(serve, make_params, tmp_path):
    def script(body, batch):
        if "Score-A" in body["messages"][-1]["content"]:
            # The first reply is none, so it is asked again with another seed: a second batch.
            return ok(completion("Score-A: 8\nScore-B: 3" if body["temperature"] else "no idea"))
        return right(body, batch)

    server = serve(script)
    told = {"engine": "openai", "model": "m", "base_url": server.base_url, "batch": True, "batch_poll": 0.01}
    raw = make_params(judges={"rubric": {"kind": "rubric"}, "big": {"kind": "llm", **told}})
    params, paths = parse_params(raw, "params.yaml"), Paths(tmp_path)
    judge = open_judge("big", params, paths)
    assert [verdict[:2] for verdict in judge.score([present("good", "poor"), present("poor", "good")])] == [
        (8, 3)
    ] * 2
    judge.close()
    assert [len(lines) for lines in server.requests()] == [2, 2]
    engine = open_opponent(Opponent(**told), params, paths, where="opponents.x")
    assert isinstance(engine, BatchOpenAi)
    assert len(engine.respond(QUESTIONS, Sampling())) == 6
    engine.close()
    assert paths.batches.is_dir()


def test_log_probabilities_come_with_a_batch(serve, connect):
    (group,) = connect(serve()).respond_with_logprobs(QUESTIONS[:2], Sampling(max_tokens=3), 2)
    assert [len(answer.tokens) for _, answer in sorted(group)] == [3, 3]


@pytest.mark.parametrize(
    "judge",
    [
        {"kind": "llm", "engine": "transformers", "model": "m", "batch": True},
        {"kind": "rubric", "batch": True},
    ],
)
def test_only_an_endpoint_has_batches(make_params, judge):
    with pytest.raises(ArenaError, match="batch is for engine openai"):
        parse_params(make_params(judges={"rubric": {"kind": "rubric"}, "big": judge}), "params.yaml")
