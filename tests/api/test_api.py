"""`import arena_learning as al`: quick to import, checked in its arguments, data frames in and out."""

from __future__ import annotations

import json
import subprocess
import sys

import pandas as pd
import pytest

import arena_learning as al
from arena_learning.core import Paths
from arena_learning.engines import Completion
from arena_learning.schema import Battle, Instruction, Response, write_rows

QUESTIONS = ["Why is the sky blue?", "Name a river.", "What is 2 + 2?"]
HEAVY = ("torch", "pandas", "numpy", "scipy", "pydantic", "mlflow", "transformers", "arena_learning.rating")


class Says:
    """An engine that says the same to everything, and counts what it is asked."""

    batch_size, batch_exact = 8, True

    def __init__(self, text: str) -> None:
        self.text, self.asked, self.closed = text, 0, False
        self.fingerprint = {"engine": "says", "version": "1", "text": text}

    def respond(self, conversations, sampling):
        self.asked += len(conversations)
        return [Completion(self.text, "stop", 1, len(self.text.split()), 0.0) for _ in conversations]

    def close(self) -> None:
        self.closed = True


def test_importing_the_package_loads_nothing_before_it_is_used() -> None:
    code = f"import sys, json, arena_learning; print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_the_interface_offers_its_names_and_the_rooms_stay_importable() -> None:
    from arena_learning import judge, rating

    assert set(al.__all__) <= set(dir(al))
    assert al.rate is rating.rate
    assert judge.__name__ == "arena_learning.judge"
    with pytest.raises(AttributeError, match="fight"):
        al.fight  # noqa: B018


def test_contestants_battle_a_judge_compares_and_ratings_follow(tmp_path) -> None:
    engines = {"short": Says("Yes."), "long": Says("Yes, and that is why.")}
    answers = al.battle(QUESTIONS, engines, folder=tmp_path)
    assert answers[["instruction_id", "contestant"]].values.tolist() == [
        [f"q{n}", name] for name in engines for n in (1, 2, 3)
    ]
    assert not any(engine.closed for engine in engines.values())  # they are the caller's
    battles = al.judge_answers(answers, QUESTIONS, {"kind": "longer"}, folder=tmp_path)
    assert battles[["model_a", "model_b", "winner", "prompt_id"]].values.tolist() == [
        ["long", "short", "model_a", f"q{n}"] for n in (1, 2, 3)
    ]
    board = al.rate(battles, anchor=("short", 1000.0), bootstrap=50).to_frame()
    assert board["model"].tolist() == ["long", "short"]
    assert board["rating"][1] == 1000.0
    assert board["wins"].tolist() == [3, 0]


def test_what_was_answered_is_not_asked_again(tmp_path) -> None:
    engine = Says("Yes.")
    al.battle(QUESTIONS[:2], {"a": engine}, folder=tmp_path)
    al.battle(QUESTIONS, {"a": engine}, folder=tmp_path)
    assert engine.asked == 3
    al.battle(QUESTIONS, {"a": engine}, folder=tmp_path, sampling={"max_tokens": 7})
    assert engine.asked == 6


def test_a_contestant_may_be_settings_as_in_params_yaml(tmp_path) -> None:
    (tmp_path / "mine.jsonl").write_text('{"id": "q1", "text": "Light."}\n', encoding="utf-8")
    answers = al.battle(
        QUESTIONS[:1], {"mine": {"engine": "recorded", "model": "mine.jsonl"}}, folder=tmp_path
    )
    assert answers["text"].tolist() == ["Light."]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: al.battle(QUESTIONS, {"a": {"engin": "openai"}}), "did you mean 'engine'"),
        (lambda: al.battle([], {"a": Says("x")}), "no instructions"),
        (lambda: al.battle([3], {"a": Says("x")}), "instruction 1 is int"),
        (lambda: al.battle(" ".split("x"), {"a": Says("x")}), "instruction 1 is empty"),
        (lambda: al.battle("no-such-file.csv", {"a": Says("x")}), "no-such-file.csv"),
        (lambda: al.judge_answers(frame(), QUESTIONS, {"kind": "lnger"}), "did you mean 'longer'"),
        (lambda: al.judge_answers(frame().drop(columns="text"), QUESTIONS, {"kind": "longer"}), "no column text"),
        (lambda: al.judge_answers(frame("q9"), QUESTIONS, {"kind": "longer"}), "to no instruction here, such as 'q9'"),
        (lambda: al.judge_answers(frame(twice=True), QUESTIONS, {"kind": "longer"}), "answers, row 2: 'a' answers 'q1'"),
        (lambda: al.judge_answers(frame(), QUESTIONS, {"kind": "longer"}, disagree="maybe"), "judge.disagree"),
        (lambda: al.rate(frame(), ancor=("a", 1000)), "did you mean 'anchor'"),
        (lambda: al.load_project("/"), "no params.yaml"),
    ],
)  # fmt: skip
def test_a_mistake_is_an_error_that_says_how_to_fix_it(call, said, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(al.ArenaError) as error:
        call()
    assert said in str(error.value)


def frame(instruction: str = "q1", *, twice: bool = False) -> pd.DataFrame:
    names = ["a", "a" if twice else "b"]
    return pd.DataFrame({"instruction_id": instruction, "contestant": names, "text": ["Yes.", "No, never."]})


def test_instructions_come_from_a_frame_or_a_file(tmp_path) -> None:
    table = pd.DataFrame({"id": ["a", "b"], "prompt": QUESTIONS[:2], "category": ["x", "y"]})
    found = al.read_instructions(table)
    assert [(one.id, one.text, one.category) for one in found] == [
        ("a", QUESTIONS[0], "x"),
        ("b", QUESTIONS[1], "y"),
    ]
    table.to_csv(tmp_path / "table.csv")
    assert al.read_instructions(tmp_path / "table.csv") == found
    write_rows(tmp_path / "pool.jsonl", found)
    assert al.read_instructions(str(tmp_path / "pool.jsonl")) == found
    assert al.read_instructions(pd.DataFrame([one.model_dump() for one in found])) == found


def test_a_battle_without_a_verdict_has_no_winner_and_is_passed_over(tmp_path) -> None:
    both = pd.concat(
        [frame(), frame("q2").assign(text=["", "x"], finish_reason="refused", refusal="filtered")]
    )
    battles = al.judge_answers(both, QUESTIONS, {"kind": "longer"}, folder=tmp_path)
    assert battles["winner"].tolist() == ["model_b", None]
    assert "filtered" in battles["unscored"][1]
    assert al.rate(battles, bootstrap=0)["b"].battles == 1


@pytest.fixture
def project(tmp_path, make_params, make_battle):
    """A project with a round's battles and a leaderboard of two judges."""
    paths = Paths(tmp_path)
    raw = make_params(judges={"rubric": {"kind": "rubric"}, "longer": {"kind": "longer"}})
    raw["evaluate"] = {"judges": ["rubric", "longer"]}
    paths.params.write_text(json.dumps(raw), encoding="utf-8")
    scored = make_battle("base", 4, "expert", 7, judge="rubric-all v1")
    write_rows(paths.arena_battles, [scored, make_battle("base", 5, "expert", 3, judge="length")])
    paths.arena_metrics.write_text('{"rubric": {"judge": "rubric-all v1"}, "longer": {"judge": "length"}}')
    boards = {
        "rubric": [{"model": "expert", "rating": 1100.0}],
        "longer": [{"model": "base", "rating": 1000.0}],
    }
    paths.reports.mkdir()
    paths.leaderboard.write_text(json.dumps({"boards": {n: {"ratings": rows} for n, rows in boards.items()}}))
    write_rows(paths.battles("sft-i1"), [scored])
    write_rows(paths.responses("sft-i1"), [])
    answer = {"finish_reason": "stop", "prompt_tokens": 1, "completion_tokens": 1}
    write_rows(
        paths.arena_responses("base"), [Response(instruction_id="i1", contestant="base", text="x", **answer)]
    )
    write_rows(paths.split("test"), [Instruction(id="i1", turns=({"role": "user", "content": "Hi?"},))])
    return al.load_project(tmp_path)


def test_a_project_gives_its_results_as_frames(project) -> None:
    assert project.params.judge.name == "rubric"
    assert project.leaderboard()["model"].tolist() == ["expert"]
    assert project.leaderboard("longer")["model"].tolist() == ["base"]
    assert project.battles()["winner"].tolist() == ["model_b"]
    assert project.battles(judge="longer")["winner"].tolist() == ["model_a"]
    assert project.battles("sft-i1")["score_b"].tolist() == [7]
    assert project.answers("base")["text"].tolist() == ["x"]
    assert project.instructions()["id"].tolist() == ["i1"]
    empty = project.rows("sft-i1", "responses")
    assert (len(empty), "finish_reason" in empty.columns) == (0, True)
    assert {"model_a", "model_b", "winner", "prompt_id"} <= set(project.battles().columns)
    assert len(project.battles().columns) == len(Battle.model_fields)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda p: p.leaderboard("rubrik"), "did you mean 'rubric'"),
        (lambda p: p.battles(judge="longr"), "did you mean 'longer'"),
        (lambda p: p.battles("sft-l1"), "did you mean 'sft-i1'"),
        (lambda p: p.rows("sft-i1", "sfd"), "did you mean 'sft'"),
        (lambda p: p.rows("sft-i1", "sft"), "run `arena repro`"),
        (lambda p: p.answers("bass"), "did you mean 'base'"),
    ],
)
def test_a_projects_results_that_are_not_there_are_named(project, ask, said) -> None:
    with pytest.raises(al.ArenaError) as error:
        ask(project)
    assert said in str(error.value)
