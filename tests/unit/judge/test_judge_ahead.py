"""A round is judged while its contestants still answer; the stage then finds all verdicts."""

from __future__ import annotations

import json
import threading
import time

import pytest
from scripted import ScriptedEngine, WordCountJudge

from arena_learning.arena import battle_round
from arena_learning.core import STOP_AT, ArenaError, Paths, hold_stage_lock
from arena_learning.engines import build
from arena_learning.judge import ahead, stage
from arena_learning.params import parse_params
from arena_learning.schema import Game, Instruction, Turn, read_rows, write_rows
from arena_learning.store import Store

NAME = "sft-i1"
BATTLES = 8 * 3  # of three contestants, two games each


class BatchJudge(WordCountJudge):
    """A judge whose verdict depends on its batch."""

    batch_exact = False


class Slow(ScriptedEngine):
    """Answers its last batch when it is told to."""

    def __init__(self, may_end: threading.Event) -> None:
        super().__init__(lambda text, _: f"slowly {text}")
        self.fingerprint = {"engine": "slow", "version": "1"}
        self._may_end = may_end

    def respond(self, conversations, sampling):
        if len(self.asked) + len(conversations) == 8:
            assert self._may_end.wait(60)
        return super().respond(conversations, sampling)


@pytest.fixture
def project(tmp_path, make_params, monkeypatch):
    """Eight instructions, the base, recorded answers, and a slow model, which answers last."""
    instructions = [
        Instruction(id=f"q{n}", turns=(Turn(role="user", content=f"Question {n}"),)) for n in range(8)
    ]
    recorded = [{"id": i.id, "text": "an expert's five words here"} for i in instructions]
    (tmp_path / "expert.jsonl").write_text("".join(json.dumps(row) + "\n" for row in recorded))
    opponents = {
        "expert": {"engine": "recorded", "model": "expert.jsonl"},
        "slow": {"engine": "transformers", "model": "slow"},
    }
    params, paths = parse_params(make_params(opponents=opponents), "params.yaml"), Paths(tmp_path)
    write_rows(paths.split("d1"), instructions)
    may_end = threading.Event()
    open_one = build._open_one

    def opened(opponent, *rest, where):
        return Slow(may_end) if opponent.model == "slow" else open_one(opponent, *rest, where=where)

    monkeypatch.setattr(build, "_open_one", opened)
    monkeypatch.setattr(build, "open_folder", lambda *_, **__: ScriptedEngine(lambda text, _: f"ok {text}"))
    monkeypatch.setattr(ahead, "_POLL_SECONDS", 0.02)
    return params, paths, may_end


def judged_by(monkeypatch, judge):
    for module in (ahead, stage):
        monkeypatch.setattr(module, "open_judge", lambda *_: judge)
    return judge


def start_battle(params, paths):
    """Run the stage beside; return when it holds its lock."""
    held = threading.Event()

    def run() -> None:
        with hold_stage_lock(f"battle {NAME}", paths):
            held.set()
            battle_round(NAME, params, paths)

    thread = threading.Thread(target=run)
    thread.start()
    assert held.wait(30)
    return thread


def test_battles_are_judged_while_others_are_answered(project, monkeypatch):
    params, paths, may_end = project
    judge = judged_by(monkeypatch, WordCountJudge())
    battle = start_battle(params, paths)
    before: list[int] = []

    def release() -> None:
        # All but the slow model's last four answers are there: 8 battles without it, and 4 x 2 with it.
        end = time.monotonic() + 20
        while len(judge.presented) < 2 * 16 and time.monotonic() < end:
            time.sleep(0.02)
        before.append(len(judge.presented))
        may_end.set()

    releasing = threading.Thread(target=release)
    releasing.start()
    found = ahead.judge_ahead(NAME, params, paths)
    battle.join()
    releasing.join()
    assert before == [32]
    assert found == {"battles": BATTLES, "ready": BATTLES, "judged": 2 * BATTLES}
    with Store(paths.store) as store:
        asked = {(row.stage, row.round) for row in store.spending_rows() if row.role == "judge"}
    assert asked == {("judge", NAME)}  # what it spends counts as the stage's, and against the budget
    assert stage.judge_round(NAME, params, paths)["judged"] == 0
    games = read_rows(paths.games(NAME), Game)
    assert len(games) == 2 * BATTLES
    assert {(g.first, g.second) for g in games} == {
        (a, b) for a in ("base", "expert", "slow") for b in ("base", "expert", "slow") if a != b
    }


def test_a_judge_that_depends_on_its_batch_is_asked_in_the_batches_of_the_stage(
    project, monkeypatch, tmp_path
):
    params, paths, may_end = project
    judge = judged_by(monkeypatch, BatchJudge())
    battle = start_battle(params, paths)
    threading.Timer(0.5, may_end.set).start()
    assert ahead.judge_ahead(NAME, params, paths)["judged"] == 2 * BATTLES
    battle.join()
    asked = list(judge.presented)
    paths.store.unlink()
    judge.presented.clear()
    assert stage.judge_round(NAME, params, paths)["judged"] == 2 * BATTLES
    assert judge.presented == asked


def test_it_ends_when_answers_are_missing_and_none_will_come(project, monkeypatch):
    params, paths, may_end = project
    judged_by(monkeypatch, WordCountJudge())
    may_end.set()
    assert ahead.judge_ahead(NAME, params, paths) == {"battles": BATTLES, "ready": 0, "judged": 0}
    without = params.model_copy(update={"opponents": {"expert": params.opponents["expert"]}})
    battle_round(NAME, without, paths)
    # Base and expert have answered: one pair on each instruction.
    assert ahead.judge_ahead(NAME, params, paths) == {"battles": BATTLES, "ready": 8, "judged": 16}


def test_the_hours_of_a_run_end_its_wait_for_answers(project, monkeypatch):
    params, paths, _ = project
    judged_by(monkeypatch, WordCountJudge())
    monkeypatch.setenv(STOP_AT, f"{time.time() - 1} 2")
    with (
        hold_stage_lock(f"battle {NAME}", paths),
        pytest.raises(ArenaError, match=f"used up its 2 hours; missing: {BATTLES} battles of '{NAME}'"),
    ):
        ahead.judge_ahead(NAME, params, paths)


def test_a_round_without_battles_says_so(project):
    params, paths, _ = project
    alone = params.rounds[NAME].model_copy(update={"target": "none", "labels": "expert"})
    with pytest.raises(ArenaError, match=f"'{NAME}' has no battles"):
        ahead.judge_ahead(NAME, params.model_copy(update={"rounds": {NAME: alone}}), paths)


def test_it_keeps_to_the_budget(project, monkeypatch):
    params, paths, may_end = project
    judged_by(monkeypatch, WordCountJudge())
    may_end.set()
    battle_round(NAME, params, paths)
    with Store(paths.store) as store:
        spent = int(store.spent()["tokens"])
    poor = params.model_copy(update={"budget": params.budget.model_copy(update={"tokens": spent})})
    with pytest.raises(ArenaError, match=r"missing: .* games") as stopped:
        ahead.judge_ahead(NAME, poor, paths)
    assert stopped.value.where == "params.yaml, budget.tokens"
