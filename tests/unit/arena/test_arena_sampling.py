"""The target's own samples: drawn once, told apart by their seeds, beside the answers of today."""

from __future__ import annotations

import pytest

import arena_learning.engines
from arena_learning.arena import Contestant, ask_contestant_for, battle_round, pair_contestants
from arena_learning.core import ArenaError, Paths, read_json
from arena_learning.engines.base import Completion, Refused, is_exact
from arena_learning.params import Sampling, parse_params
from arena_learning.schema import Response, read_rows, write_rows
from arena_learning.store import Store


class Drawing:
    """Answers with what it was asked, how, and in which batch where that changes a sampled answer."""

    batch_size = 2
    batch_exact = True

    def __init__(self, sample_exact=True, fail_at=None):
        self.fingerprint = {"engine": "drawing", "version": "1"}
        self.sample_exact, self._fail_at = sample_exact, fail_at
        self.asked = []

    def respond(self, conversations, sampling):
        if self._fail_at is not None and len(self.asked) >= self._fail_at:
            raise ArenaError("the machine is gone")
        told = [c[-1].content for c in conversations]
        self.asked += [(text, sampling.seed) for text in told]
        how = f"at {sampling.temperature:g}, seed {sampling.seed}"
        batch = "" if self.sample_exact or not sampling.temperature else f", with {told[0]}"
        return [Completion(f"{text} {how}{batch}", "stop", 4, 2, 0.5) for text in told]

    def close(self):
        pass


class DrawingTogether(Drawing):
    """Draws all samples of a conversation in one request; a sample says which requests and seeds it was drawn with."""

    batch_size = 4

    def __init__(self, fail_at=None, refuses=None):
        super().__init__(sample_exact=False)
        self._requests_left, self._refuses, self.drawn = fail_at, refuses, []

    def draw(self, conversations, sampling, seeds):
        if self._requests_left == len(self.drawn):
            raise ArenaError("the machine is gone")
        told = [c[-1].content for c in conversations]
        self.drawn.append((told, list(seeds)))
        return [
            Refused("no")
            if text == self._refuses
            else [Completion(f"{text} {seed} of {seeds} in {told}", "stop", 4, 2, 0.5) for seed in seeds]
            for text in told
        ]


@pytest.fixture
def play(tmp_path, make_params, make_instruction, monkeypatch):
    """Run the battle stage of dpo-i1 on two instructions with an opponent that is recorded; returns what was asked."""
    paths = Paths(tmp_path)
    write_rows(paths.split("d2"), [make_instruction(f"i{n}", f"Question {n}") for n in range(2)])
    lines = [f'{{"id": "i{n}", "text": "Answer {n}"}}\n' for n in range(2)]
    (tmp_path / "expert.jsonl").write_text("".join(lines), encoding="utf-8")
    real = arena_learning.engines.open_engine

    def run(samples=1, pairs="all", engine=None, **battle):
        engine = engine or Drawing()
        monkeypatch.setattr(
            arena_learning.engines,
            "open_engine",
            lambda name, *rest: engine if name == "sft-i1" else real(name, *rest),
        )
        raw = make_params(
            battle={"samples": samples, **battle}, dataset={"pairs": pairs}, sampling={"seed": 7}
        )
        metrics = battle_round("dpo-i1", parse_params(raw, "here"), paths)
        return metrics, engine

    return run, paths


def drawn(paths):
    return read_rows(paths.samples("dpo-i1"), Response)


def test_without_samples_the_round_asks_and_writes_what_it_always_did(play):
    run, paths = play
    metrics, engine = run()
    assert engine.asked == [("Question 0", 7), ("Question 1", 7)]
    assert paths.samples("dpo-i1").read_bytes() == b""
    assert b"sample" not in paths.responses("dpo-i1").read_bytes()
    assert set(metrics) == {"contestants", "generated"}
    before = paths.responses("dpo-i1").read_bytes()
    run(samples=3, pairs="samples")
    assert paths.responses("dpo-i1").read_bytes() == before


def test_each_sample_has_a_seed_and_a_number_of_its_own(play, capsys):
    run, paths = play
    metrics, _ = run(samples=3, pairs="samples", sample_temperature=0.5)
    assert [(r.instruction_id, r.sample, r.contestant) for r in drawn(paths)] == [
        (i, k, "sft-i1") for i in ("i0", "i1") for k in (1, 2, 3)
    ]
    assert [r.text for r in drawn(paths)[:2]] == ["Question 0 at 0.5, seed 8", "Question 0 at 0.5, seed 9"]
    assert "dpo-i1: 6 samples, 3 to each instruction" in capsys.readouterr().err
    kept = read_json(paths.stage_metrics("dpo-i1", "battle"))["samples"]
    assert (kept["answers"], kept["per_instruction"], kept["temperature"], kept["repeated"]) == (6, 3, 0.5, 0)
    assert metrics["generated"] == 2 + 2 + 6  # the opponent's answers, the target's, its samples


def test_a_rerun_asks_nothing_and_more_samples_ask_for_the_new_ones_alone(play):
    run, paths = play
    run(samples=2, pairs="samples")
    before = paths.samples("dpo-i1").read_bytes()
    again, engine = run(samples=2, pairs="samples")
    assert (again["generated"], engine.asked) == (0, [])
    assert paths.samples("dpo-i1").read_bytes() == before
    _, engine = run(samples=4, pairs="samples")
    assert sorted({seed for _, seed in engine.asked}) == [7 + 3, 7 + 4]


def test_a_stage_that_was_stopped_goes_on_with_the_samples_that_are_missing(play):
    run, paths = play
    with pytest.raises(ArenaError, match="the machine is gone"):
        run(samples=3, pairs="samples", engine=Drawing(fail_at=4))
    assert not paths.samples("dpo-i1").exists()
    _, engine = run(samples=3, pairs="samples")
    assert len(engine.asked) == 8 - 4
    assert len({r.text for r in drawn(paths)}) == 6


def test_an_engine_that_can_draws_all_samples_of_an_instruction_in_one_request(play):
    run, paths = play
    metrics, engine = run(samples=2, pairs="samples", engine=DrawingTogether())
    assert engine.asked == [("Question 0", 7), ("Question 1", 7)]  # the answers that battle, as ever
    assert engine.drawn == [(["Question 0", "Question 1"], [8, 9])]
    assert [(r.instruction_id, r.sample, r.text.split(" of ")[0]) for r in drawn(paths)] == [
        (f"i{i}", k, f"Question {i} {7 + k}") for i in (0, 1) for k in (1, 2)
    ]
    assert metrics["generated"] == 2 + 2 + 4
    again, engine = run(samples=2, pairs="samples", engine=DrawingTogether())
    assert (again["generated"], engine.asked, engine.drawn) == (0, [], [])


def test_a_request_holds_all_samples_of_its_instructions(play):
    run, _ = play
    _, engine = run(samples=3, pairs="samples", engine=DrawingTogether())
    assert engine.drawn == [(["Question 0"], [8, 9, 10]), (["Question 1"], [8, 9, 10])]
    _, engine = run(samples=9, pairs="samples", engine=DrawingTogether())  # more than a batch
    assert engine.drawn == [([f"Question {n}"], [11, 12, 13, 14, 15, 16]) for n in (0, 1)]


def test_more_samples_leave_those_that_were_drawn_together(play):
    run, paths = play
    run(samples=2, pairs="samples", engine=DrawingTogether())
    before = drawn(paths)
    _, engine = run(samples=4, pairs="samples", engine=DrawingTogether())
    assert engine.drawn == [(["Question 0", "Question 1"], [10, 11])]
    assert [r for r in drawn(paths) if r.sample <= 2] == before


def test_samples_that_were_stopped_are_those_of_a_run_that_was_not(play, tmp_path):
    run, paths = play
    with pytest.raises(ArenaError, match="the machine is gone"):
        run(samples=3, pairs="samples", engine=DrawingTogether(fail_at=1))
    _, engine = run(samples=3, pairs="samples", engine=DrawingTogether())
    assert engine.drawn == [(["Question 1"], [8, 9, 10])]
    resumed = paths.samples("dpo-i1").read_bytes()
    paths.store.unlink()
    run(samples=3, pairs="samples", engine=DrawingTogether())
    assert paths.samples("dpo-i1").read_bytes() == resumed


def test_a_refused_instruction_is_refused_for_each_of_its_samples(play):
    run, paths = play
    metrics, _ = run(samples=2, pairs="samples", engine=DrawingTogether(refuses="Question 1"))
    assert [(r.instruction_id, r.sample, r.refusal) for r in drawn(paths)][2:] == [
        ("i1", 1, "no"),
        ("i1", 2, "no"),
    ]
    assert metrics["samples"]["refused"] == 2
    _, engine = run(samples=2, pairs="samples", engine=DrawingTogether())
    assert engine.drawn == []  # a lasting refusal is remembered


def test_only_rounds_that_learn_from_samples_draw_them(make_params):
    raw = make_params(battle={"samples": 4}, dataset={"pairs": "samples"})
    raw["rounds"]["rft-i1"] = {**raw["rounds"]["dpo-i1"], "index": 9, "method": "rft"}
    counts = {name: parse_params(raw, "here").samples_of(name) for name in raw["rounds"]}
    assert counts == {"sft-i1": 0, "dpo-i1": 4, "rft-i1": 4}
    raw["dataset"] = {"pairs": "target"}
    counts = {name: parse_params(raw, "here").samples_of(name) for name in raw["rounds"]}
    assert counts == {"sft-i1": 0, "dpo-i1": 0, "rft-i1": 4}


def test_batches_of_an_engine_that_draws_by_the_batch_are_asked_whole(tmp_path, make_instruction):
    questions = [make_instruction(f"i{n}", f"Question {n}") for n in range(4)]

    def ask(store, engine, which):
        contestant = Contestant("base", engine, Sampling(temperature=1.0), 1)
        return [r.text for r in ask_contestant_for(contestant, which, store).responses]

    with Store(tmp_path / "one.sqlite") as store:
        ask(store, Drawing(sample_exact=False), questions[1:2])
        resumed = ask(store, Drawing(sample_exact=False), questions)
    with Store(tmp_path / "two.sqlite") as store:
        assert resumed == ask(store, Drawing(sample_exact=False), questions)
    assert resumed[1].endswith("with Question 0")
    greedy, warm = Sampling(), Sampling(temperature=1.0)
    assert [is_exact(Drawing(False), s) for s in (greedy, warm)] == [True, False]
    assert is_exact(Drawing(), warm)


@pytest.mark.parametrize("mode", ["all", "target", "split"])
def test_a_target_without_opponents_meets_nobody(mode):
    assert pair_contestants(["i1"], "base", [], mode, 0) == []
