"""Real trainings of a tiny model by RLOO and GRPO, under judges of plain rules."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean

import pytest

from arena_learning.core.errors import ArenaError
from arena_learning.core.progress import Progress
from arena_learning.params import Train
from arena_learning.schema.rows import Instruction, Response, Turn
from arena_learning.store import Store
from arena_learning.train import answer_head, row_attention, train_round
from arena_learning.train.online import RewardInputs
from online_judges import PairJudge, RuleJudge
from tiny import build_tiny_model

pytestmark = pytest.mark.torch

QUESTIONS = ("Name a colour.", "Name a river.", "Name a planet.", "What is two and two?")
INSTRUCTIONS = [
    Instruction(id=f"i{number}", turns=(Turn(role="user", content=question),))
    for number, question in enumerate(QUESTIONS)
]


class Quiet(Progress):
    def _write(self, now, note):
        pass


class Killed(BaseException):
    pass


def killer(phase, step):
    """Return a progress line that dies at a step of a phase, as a killed process would."""

    class Killer(Quiet):
        def advance(self, count=1, note=""):
            super().advance(count, note)
            if self.label == phase and self.done == step:
                raise Killed

    return Killer


def vowels(text):
    return min(10.0, 1.0 + text.count("e"))


def length(text):
    return min(10.0, 1.0 + len(text) / 10)


@pytest.fixture(scope="module")
def talker(tmp_path_factory):
    """A model that says anything, so that its answers differ."""
    return build_tiny_model(tmp_path_factory.mktemp("models") / "talker", tied=False)


@pytest.fixture
def train(talker, tmp_path):
    """Train: `train("rloo", judge, epochs=3)` gives the report and the folder. All calls share a store."""

    def run(method, judge=None, *, monitor=None, name="out", progress=Quiet, opponents=None, seed=1, **over):
        settings = {
            "judge": "vowels",
            "monitor": "length",
            "epochs": 4,
            "learning_rate": 5e-3,
            "batch_size": 4,
            "device_batch_size": 8,
            "max_length": 128,
            "max_tokens": 10,
        }
        with Store(tmp_path / "store.sqlite") as store:
            report = train_round(
                method,
                init=talker,
                out=tmp_path / name,
                sft=tmp_path / "none.jsonl",
                preferences=tmp_path / "none.jsonl",
                params=Train.model_validate(
                    {"device": "cpu", "checkpoint_minutes": 0, method: settings | over}
                ),
                seed=seed,
                checkpoints=tmp_path / "checkpoints",
                progress=progress,
                rewards=RewardInputs(
                    INSTRUCTIONS,
                    opponents or {},
                    judge or RuleJudge(vowels, "vowels"),
                    monitor or RuleJudge(length, "length"),
                    store,
                ),
            )
        return report, tmp_path / name

    run.checkpoints = tmp_path / "checkpoints"
    return run


def rewards(report):
    return [point["reward"] for point in report.curve()]


@pytest.mark.parametrize("method", ["rloo", "grpo"])
def test_the_judges_word_raises_what_it_rewards(train, method):
    report, folder = train(method, epochs=24)
    (phase,) = report.phases
    assert phase.name == method
    assert phase.steps == 24
    assert phase.rows.kept == 4
    assert fmean(rewards(report)[-4:]) > fmean(rewards(report)[:4]) + 0.5
    figures = phase.figures
    assert figures["sampled"] == 24 * 4 * 4
    assert figures["unscored"] == 0
    assert figures["reward_trend"] > 0.5
    assert 0.5 < figures["monitor_agreement"] < 1  # what has more of a letter is longer, mostly
    wanted = {"step", "loss", "lr", "reward", "reward_spread", "groups_alike", "length", "unended", "entropy"}
    assert wanted | {"monitor", "monitor_agreement", "unscored"} <= set(report.curve()[0])
    assert report.cost.judged > 0
    assert report.weight_change.after_saving > 1e-3
    assert (folder / "model.safetensors").is_file()
    json.dumps(report.to_dict(), allow_nan=False)


def test_a_win_rate_against_recorded_answers_raises_it_too(train):
    shared = {"contestant": "rival", "finish_reason": "stop", "prompt_tokens": 1, "completion_tokens": 1}
    recorded = {one.id: [Response(instruction_id=one.id, text="see", **shared)] for one in INSTRUCTIONS}
    judge = PairJudge(vowels, "vowels, compared")
    report, _ = train("rloo", judge, opponents=recorded, reward="win_rate", epochs=16, learning_rate=1e-2)
    assert all(0 <= reward <= 1 for reward in rewards(report))
    assert fmean(rewards(report)[-4:]) > fmean(rewards(report)[:4]) + 0.1
    assert report.phases[0].figures["monitor_first"] > 1  # the monitor's score, not a win rate


def test_adapters_are_held_against_the_start_and_merged(train, talker):
    from safetensors.torch import load_file

    report, folder = train("rloo", lora_rank=4, learning_rate=2e-2, kl=0.05)
    curve = report.curve()
    assert curve[0]["kl"] == pytest.approx(0, abs=1e-5)
    assert curve[-1]["kl"] > 1e-3
    start, trained = (load_file(place / "model.safetensors") for place in (talker, folder))
    assert trained.keys() == start.keys()
    assert report.weight_change.after_saving > 1e-3


def test_probabilities_of_samples_are_computed_once_where_no_penalty_needs_them_before(train, monkeypatch):
    computed = []
    figures = answer_head.token_figures

    def counted(hidden, head, labels, temperature=1.0):
        computed.append(len(labels))
        return figures(hidden, head, labels, temperature)

    monkeypatch.setattr(answer_head, "token_figures", counted)
    first = {}
    for kl in (0.0, 1e-9):
        report, _ = train("rloo", name=f"kl-{kl}", epochs=1, batch_size=4, device_batch_size=8, kl=kl)
        first[kl] = report.curve()[0]
        first[kl]["batches"] = len(computed)
        computed.clear()
    once, twice = first[0.0], first[1e-9]
    assert once["batches"] == 2
    assert twice["batches"] == 6  # of samples by the weights, and by the start, before the update
    for name in ("loss", "grad_norm", "reward", "entropy", "length"):
        assert once[name] == pytest.approx(twice[name], rel=1e-4, abs=1e-6), name


@pytest.mark.parametrize("method", ["rloo", "grpo"])
def test_the_answers_to_a_prompt_are_learnt_from_side_by_side(train, monkeypatch, method):
    laid = []
    lay_end_to_end = row_attention.lay_end_to_end

    def seen(rows):
        found = lay_end_to_end(rows)
        laid.append((found, [len(row) for row in rows]))
        return found

    monkeypatch.setattr(row_attention, "lay_end_to_end", seen)
    train(method, epochs=1, device_batch_size=4)
    updates = laid[-4:]
    assert len(updates) == 4  # a step of four prompts, a group of four answers in each batch
    for found, lengths in updates:
        # The prompt stands there once: the other answers bring 10 tokens each at most.
        assert all(size <= 10 for size in found.sizes[1:])
        assert found.sizes[0] == lengths[0] > 10


@pytest.mark.parametrize("method", ["rloo", "grpo"])
def test_a_killed_training_ends_as_an_undisturbed_one_and_asks_no_verdict_again(train, method):
    whole, folder = train(method, RuleJudge(vowels, "first"), name="whole", kl=0.05)
    with pytest.raises(Killed):
        train(method, RuleJudge(vowels, "other"), name="again", kl=0.05, progress=killer(method, 3))
    kept = [path.name for path in train.checkpoints.rglob("checkpoint-*")]
    assert kept == ["checkpoint-2"]  # the third is saved behind its line
    judge = RuleJudge(vowels, "other")
    resumed, again = train(method, judge, name="again", kl=0.05)
    assert resumed.cost.resumed_from == {method: 2}
    assert resumed.metrics() == whole.metrics()
    assert resumed.curve() == whole.curve()
    assert (again / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    # Step 3 was judged before the kill; the same answers are sampled again, and the store has the verdicts.
    last, _ = train(method, judge, name="last", kl=0.05)
    assert last.metrics() == whole.metrics()
    assert last.cost.judged == 0


def test_the_third_step_is_not_asked_again_after_a_kill(train):
    asked = {}
    for name, kill in (("whole", None), ("killed", 3)):
        judge = RuleJudge(vowels, name)
        if kill:
            with pytest.raises(Killed):
                train("rloo", judge, progress=killer("rloo", kill))
        train("rloo", judge)
        asked[name] = judge.asked
    assert asked["killed"] == asked["whole"]


def test_another_judge_is_another_training(train, capsys):
    with pytest.raises(Killed):
        train("rloo", RuleJudge(vowels, "one"), progress=killer("rloo", 3))
    report, _ = train("rloo", RuleJudge(vowels, "two"))
    assert report.cost.resumed_from == {}
    assert "checkpoints of other inputs removed" in capsys.readouterr().err


def test_what_is_not_scored_moves_nothing_and_is_counted(train, talker):
    mute = RuleJudge(lambda text: None, "mute")
    report, folder = train("rloo", mute, kl=0.0)
    (phase,) = report.phases
    assert phase.figures["unscored"] == phase.figures["sampled"] == 64
    assert "reward" not in phase.curve[0]  # not a zero that nobody gave
    assert phase.curve[0]["monitor"] > 1
    assert (folder / "model.safetensors").read_bytes() == (talker / "model.safetensors").read_bytes()
    assert any("no verdict on 64 of 64 sampled answers" in line for line in report.warnings)
    some = RuleJudge(lambda text: None if "e" in text else length(text), "some")
    report, _ = train("rloo", some)
    assert 0 < report.phases[0].figures["unscored"] < 64


def test_the_ceiling_stops_before_anything_is_sampled(train, talker):
    judge = RuleJudge(vowels)
    with pytest.raises(ArenaError, match="rloo may need 128 judged games"):
        train("rloo", judge, max_judge_calls=127)
    assert judge.asked == 0
    assert not (Path(talker).parent / "out").exists()


def test_prompts_that_leave_no_room_are_counted_and_a_round_of_them_copies_its_start(train, talker):
    report, folder = train("rloo", max_length=12)
    assert report.rows == 0
    assert sum(report.phases[0].rows.dropped.values()) == 4
    assert (folder / "model.safetensors").read_bytes() == (talker / "model.safetensors").read_bytes()


def test_without_a_judge_there_is_nothing_to_learn_from(talker, tmp_path):
    with pytest.raises(ArenaError, match="grpo needs a judge that rewards its answers"):
        train_round(
            "grpo",
            init=talker,
            out=tmp_path / "out",
            sft=tmp_path / "none.jsonl",
            preferences=tmp_path / "none.jsonl",
            params=Train(),
            seed=1,
            checkpoints=tmp_path / "checkpoints",
        )
