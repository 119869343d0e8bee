"""Copies of an engine on Ray: the answers of one engine, whatever dies."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from copied_engines import Logged

from arena_learning.arena import Contestant, ask_contestant_for
from arena_learning.core.errors import ArenaError
from arena_learning.core.paths import Paths
from arena_learning.engines.base import Completion, Refused, is_exact
from arena_learning.engines.build import open_engine, open_opponent
from arena_learning.engines.recorded import RecordedEngine
from arena_learning.params import Opponent, Ray, Sampling, parse_params
from arena_learning.schema.rows import Instruction, Turn
from arena_learning.store import Store
from arena_learning.testing import EngineConformance

ray = pytest.importorskip("ray", reason="Ray is an extra of its own: pip install 'arena-learning[ray]'")
pytestmark = [
    # Ray's own: it reads files and sockets that it leaves to the collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
QUESTIONS = [[Turn(role="user", content=f"q{n}")] for n in range(20)]


@pytest.fixture(scope="module", autouse=True)
def _cluster():
    """Ray is started by the first test that answers, and ends with the module."""
    paths = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([*(p for p in sys.path if p), paths])
    yield
    ray.shutdown()
    os.environ["PYTHONPATH"] = paths


@pytest.fixture
def copies():
    """Open copies of an engine; all end with the test."""
    opened = []

    def make(engine, count=2, cluster=None, **fields):
        from arena_learning.engines.replicas import Replicas

        opened.append(Replicas(engine, count, cluster or Ray(), where="serving", **fields))
        return opened[-1]

    yield make
    for engine in opened:
        engine.close()


def asked(*texts):
    return [[Turn(role="user", content=text)] for text in texts]


def without_time(answers):
    return [a._replace(seconds=0.0) if isinstance(a, Completion) else a for a in answers]


def batches(folder) -> list[tuple[str, str]]:
    """Return the first question and the process of each batch, in the order in which they began."""
    found = [path.name.split(".") for path in folder.iterdir() if path.name != "died"]
    return [(first, pid) for _, first, pid in sorted((when, first, pid) for first, when, pid in found)]


def test_two_copies_give_the_answers_of_one_engine_in_its_batches(copies, tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    single, double = Logged(tmp_path / "one"), copies(partial(Logged, tmp_path / "two", 0.2))
    expected = [a for n in range(0, 20, 3) for a in single.respond(QUESTIONS[n : n + 3], Sampling())]
    groups = list(double.stream(QUESTIONS, Sampling()))
    assert [len(group) for group in groups].count(3) == 6
    found = dict(pair for group in groups for pair in group)
    assert without_time(found[place] for place in range(20)) == without_time(expected)
    assert sorted(first for first, _ in batches(tmp_path / "two")) == sorted(
        f for f, _ in batches(tmp_path / "one")
    )
    assert len({pid for _, pid in batches(tmp_path / "two")}) == 2
    assert double.fingerprint == single.fingerprint
    # As many batches as copies are handed over and leased at once.
    assert (double.batch_size, double.batch_exact) == (6, False)


def test_the_time_of_all_answers_is_the_time_that_passed(copies, tmp_path):
    began = time.perf_counter()
    answers = copies(partial(Logged, tmp_path, 0.05)).respond(QUESTIONS, Sampling())
    passed = time.perf_counter() - began
    assert (
        0.05 < sum(answer.seconds for answer in answers) <= passed
    )  # and not the 9 seconds that the engine tells


def test_a_copy_that_is_killed_is_replaced_and_its_batch_asked_again(copies, tmp_path):
    engine = copies(partial(Logged, tmp_path, 0.5))

    def kill() -> None:
        while not batches(tmp_path):
            time.sleep(0.01)
        os.kill(int(batches(tmp_path)[0][1]), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    answers = engine.respond(QUESTIONS, Sampling())
    killer.join()
    single = Logged(tmp_path / "died")
    (tmp_path / "died").mkdir()
    expected = [a for n in range(0, 20, 3) for a in single.respond(QUESTIONS[n : n + 3], Sampling())]
    assert without_time(answers) == without_time(expected)
    began = [first for first, _ in batches(tmp_path)]
    assert len(began) == 8  # seven batches, and that of the killed copy once more
    assert began.count(began[0]) == 2
    first, second = (pid for question, pid in batches(tmp_path) if question == began[0])
    assert first != second  # another copy took it, and the killed one answered no more
    assert [pid for _, pid in batches(tmp_path)].count(first) == 1


def test_a_batch_that_kills_two_copies_stops_the_run_and_the_others_are_kept(copies, tmp_path):
    engine = copies(partial(Logged, tmp_path, 0.1))
    questions = asked(*(f"q{n}" for n in range(6)), "die: now", *(f"q{n}" for n in range(7, 20)))
    found = {}

    def collect() -> None:
        for group in engine.stream(questions, Sampling()):
            found.update(group)

    with pytest.raises(ArenaError, match="a copy of the model died twice on the same batch") as caught:
        collect()
    assert "memory" in caught.value.hint
    assert set(range(6)) <= found.keys()
    assert not {6, 7, 8} & found.keys()
    assert len(engine.respond(QUESTIONS[:6], Sampling())) == 6  # the copies are there again


def test_a_copy_that_was_killed_is_there_again(copies, tmp_path):
    engine = copies(partial(Logged, tmp_path, 0.2), count=1)
    texts = [answer.text for answer in engine.respond(asked("a", "die once: b", "c", "d"), Sampling())]
    assert texts == [*(f"{text} in a+die once: b+c" for text in ("a", "die once: b", "c")), "d in d"]
    (first, one), (again, two), (last, three) = batches(tmp_path)
    assert (first, again, last) == ("a", "a", "d")
    assert one != two == three


def test_a_copy_that_cannot_be_opened_again_is_given_nothing_more(copies, tmp_path):
    engine = copies(partial(Logged, tmp_path, 0.2, reopens=False))
    texts = ["die once: a", *(f"q{n}" for n in range(11))]
    assert len(engine.respond(asked(*texts), Sampling())) == 12
    end = time.monotonic() + 60
    while not engine._lost and time.monotonic() < end:  # the copy may die after the last batch has begun
        assert len(engine.respond(asked("more"), Sampling())) == 1
    assert len(engine.respond(QUESTIONS, Sampling())) == 20
    assert len({pid for _, pid in batches(tmp_path)[-7:]}) == 1


def test_a_batch_that_kills_once_is_answered(copies, tmp_path):
    answers = copies(partial(Logged, tmp_path)).respond(asked("a", "die once: b", "c"), Sampling())
    assert [answer.text.split(" in ")[0] for answer in answers] == ["a", "die once: b", "c"]


def test_refusals_and_errors_pass_through(copies, tmp_path):
    engine = copies(partial(Logged, tmp_path))
    answers = engine.respond(asked("a", "refuse: b", "c", "d"), Sampling())
    assert answers[1] == Refused("too long")
    assert isinstance(answers[3], Completion)
    with pytest.raises(ArenaError, match="it cannot") as caught:
        engine.respond(asked("a", "fail: b"), Sampling())
    assert (caught.value.where, caught.value.hint) == ("there", "mend it")


def test_the_store_is_shared_with_one_engine_and_what_is_stored_starts_no_copy(copies, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    instructions = [Instruction(id=f"i{n}", turns=turns) for n, turns in enumerate(QUESTIONS)]

    def ask(engine):
        with Store(tmp_path / "store.sqlite") as store:
            return ask_contestant_for(Contestant("x", engine, Sampling()), instructions, store)

    double = copies(partial(Logged, tmp_path / "two"))
    assert not is_exact(double, Sampling())
    first = ask(double)
    assert first.generated == 20
    again = copies(partial(Logged, tmp_path / "two"))
    assert ask(again).responses == first.responses
    assert again._copies == []
    found = ask(Logged(tmp_path / "one"))
    assert (found.generated, found.responses) == (0, first.responses)


def test_recorded_answers_come_from_copies_too(copies, tmp_path):
    file = tmp_path / "answers.jsonl"
    file.write_text("".join(f'{{"id": "i{n}", "text": "answer {n}"}}\n' for n in range(20)))
    instructions = [Instruction(id=f"i{n}", turns=turns) for n, turns in enumerate(QUESTIONS)]
    engine = copies(partial(RecordedEngine, file, instructions))
    alone = RecordedEngine(file, instructions).respond(QUESTIONS, Sampling())
    assert without_time(engine.respond(QUESTIONS, Sampling())) == without_time(alone)


def test_a_copy_that_would_answer_otherwise_is_refused(copies, tmp_path):
    with pytest.raises(ArenaError, match=r"a replica would answer otherwise: its own is '\d+'"):
        copies(partial(Logged, tmp_path, own="{pid}")).respond(QUESTIONS, Sampling())
    assert batches(tmp_path) == []


def test_too_few_gpus_are_told_before_anything_waits(copies, tmp_path):
    engine = copies(partial(Logged, tmp_path), cluster=Ray(gpus=99.5))
    with pytest.raises(
        ArenaError, match=r"2 replicas with 99\.5 GPUs each need 199 GPUs, and the cluster has \d"
    ):
        engine.respond(QUESTIONS, Sampling())


def test_copies_are_placed_by_the_device_of_the_engine(copies, tmp_path):
    class OnGpu(Logged):
        def __init__(self, folder):
            super().__init__(folder)
            self.fingerprint["device"] = "cuda"

    assert copies(partial(Logged, tmp_path))._gpus == 0
    assert copies(partial(OnGpu, tmp_path))._gpus == 1
    assert copies(partial(OnGpu, tmp_path), tensor_parallel=4)._gpus == 4
    assert copies(partial(OnGpu, tmp_path), cluster=Ray(gpus=0.5))._gpus == 0.5


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    from tiny import build_tiny_model

    return build_tiny_model(tmp_path_factory.mktemp("models") / "base", tied=False)


@pytest.fixture(scope="module")
def served(tiny, tmp_path_factory):
    """Two copies of the tiny model, opened as a contestant is."""
    raw = {
        "weights": {"source": str(tiny)},
        "serving": {
            "engine": "transformers",
            "dtype": "fp32",
            "batch_size": 2,
            "device": "cpu",
            "replicas": 2,
        },
        "pool": {"splits": {}, "test": 1},
        "opponents": {},
        "judges": {"rubric": {"kind": "rubric"}},
        "rounds": {},
    }
    root = tmp_path_factory.mktemp("project")
    (root / "models").mkdir()
    (root / "models" / "base").symlink_to(tiny)
    engine = open_engine("base", parse_params(raw, "params.yaml"), Paths(root))
    yield engine
    engine.close()


@pytest.mark.torch
class TestServed(EngineConformance):
    @pytest.fixture
    def engine(self, served):
        return served


@pytest.mark.torch
def test_copies_of_a_model_give_its_answers_to_the_letter(served, tiny):
    from arena_learning.engines.transformers import Transformers

    alone = Transformers(tiny, dtype="fp32", batch_size=2, device="cpu")
    questions = asked(*(f"Name {'a colour ' * (n % 5)}and a river, {n}." for n in range(30)))
    for sampling in (Sampling(max_tokens=12), Sampling(max_tokens=12, temperature=1.0, seed=5)):
        expected = [
            answer
            for start in range(0, 30, alone.batch_size)
            for answer in alone.respond(questions[start : start + alone.batch_size], sampling)
        ]
        assert without_time(served.respond(questions, sampling)) == without_time(expected)
    assert served.fingerprint == alone.fingerprint
    assert served.variant(questions[0]) == alone.variant(questions[0])
    assert not is_exact(served, Sampling(temperature=1.0))
    alone.close()


@pytest.mark.parametrize("engine", ["openai", "recorded"])
def test_only_local_models_have_replicas(engine, make_params):
    opponent = {
        "engine": engine,
        "model": "m",
        "replicas": 2,
        "base_url": "http://h/v1" if engine == "openai" else "",
    }
    with pytest.raises(ArenaError, match="replicas are copies of a local model, not for engine"):
        parse_params(make_params(opponents={"x": opponent}), "params.yaml")
    with pytest.raises(ArenaError, match="not for a judge without an engine"):
        parse_params(make_params(judges={"rubric": {"kind": "rubric", "replicas": 2}}), "params.yaml")


@pytest.mark.torch
def test_opponents_and_judges_have_replicas_of_their_own(tiny, make_params, tmp_path):
    from arena_learning.engines.replicas import Replicas
    from arena_learning.judge.build import open_judge

    judge = {"kind": "llm", "engine": "transformers", "model": str(tiny), "replicas": 2}
    params = parse_params(make_params(judges={"rubric": {"kind": "rubric"}, "big": judge}), "params.yaml")
    engine = open_opponent(
        Opponent(engine="transformers", model=str(tiny), replicas=3),
        params,
        Paths(tmp_path),
        where="opponents.x",
    )
    assert isinstance(engine, Replicas)
    opened = open_judge("big", params, Paths(tmp_path))
    assert opened.batch_size == 2 * engine.batch_size / 3
    opened.close()
    engine.close()


def names_of_processes():
    for file in Path("/proc").glob("[0-9]*/comm"):
        with suppress(OSError):  # it has ended
            yield file.read_text(encoding="utf-8").strip()


def another_ray_runs():
    """Whether a Ray that is not ending runs on this machine, such as one of another process's tests."""
    end = time.monotonic() + 10
    while {"gcs_server", "raylet"} & set(names_of_processes()):
        if time.monotonic() > end:
            return True
        time.sleep(0.2)
    return False


def test_a_cluster_that_is_not_there_is_told(copies, tmp_path):
    ray.shutdown()
    if another_ray_runs():
        pytest.skip("another Ray runs on this machine, which `auto` would join")
    engine = copies(partial(Logged, tmp_path), cluster=Ray(address="auto"))
    with pytest.raises(ArenaError, match="no Ray cluster") as caught:
        engine.respond(QUESTIONS, Sampling())
    assert "ray start --head" in caught.value.hint
