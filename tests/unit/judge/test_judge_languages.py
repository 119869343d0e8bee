"""Conversations with a fixed history, in several scripts: what a language model judge is shown, and what is read."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from scripted import ScriptedEngine

from arena_learning.judge.length_baseline import LengthBaselineJudge
from arena_learning.judge.llm import LlmJudge
from arena_learning.judge.parse import read_scores
from arena_learning.judge.penalties import find_penalties
from arena_learning.judge.play import Pairing, play_games
from arena_learning.judge.template import JudgeTemplate, shipped_templates
from arena_learning.params.contestants import Sampling
from arena_learning.schema.row_files import read_rows, write_rows
from arena_learning.schema.rows import Game, Turn
from arena_learning.store.store import Store
from arena_learning.testing.judge_suite import present
from arena_learning.testing.languages import FOREIGN


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("template", shipped_templates())
def test_a_judge_is_shown_every_turn_and_both_answers_to_the_letter(template, name):
    foreign = FOREIGN[name]
    instruction = foreign.instruction("i1").model_copy(update={"reference": f"({foreign.good})"})
    system = Turn(role="system", content=foreign.system)
    with_system = instruction.model_copy(update={"turns": (system, *instruction.turns)})
    for shown, history in ((instruction, foreign.turns), (with_system, (foreign.system, *foreign.turns))):
        prompt = JudgeTemplate(template, Path()).render(present(foreign.good, foreign.poor, shown))
        lines = [*history, f"({foreign.good})", foreign.good, foreign.poor]
        places = [prompt.index(f"\n{line}\n") for line in lines]
        assert all(a < b for a, b in pairwise(places))
    assert "�" not in prompt


@pytest.mark.parametrize("name", FOREIGN)
def test_a_verdict_with_reasons_in_any_language_is_read_and_kept(name, tmp_path, make_response):
    foreign = FOREIGN[name]

    def says(prompt: str, _: int) -> str:
        first = prompt.index(foreign.good) < prompt.index(foreign.poor)
        return f"{foreign.turns[0]} {foreign.good}\n{foreign.poor}\n" + (
            "Score-A: 8\nScore-B: 3" if first else "Score-A: 3\nScore-B: 8"
        )

    judge = LlmJudge("m", ScriptedEngine(says), JudgeTemplate("multi-turn", Path()), Sampling(), 1)
    responses = {("i1", c): make_response("i1", c, t) for c, t in (("a", foreign.good), ("b", foreign.poor))}
    with Store(tmp_path / "s.sqlite") as store:
        known = {"i1": foreign.instruction("i1")}
        judged = play_games([Pairing("i1", "a", "b")], known, responses, judge, store)
        again = play_games([Pairing("i1", "a", "b")], known, responses, judge, store)
    assert (judged.battles[0].score_a, judged.battles[0].score_b) == (8, 3)
    assert (judged.judged, again.judged, again.games) == (2, 0, judged.games)
    write_rows(tmp_path / "games.jsonl", judged.games)
    assert read_rows(tmp_path / "games.jsonl", Game) == judged.games
    assert foreign.good in (tmp_path / "games.jsonl").read_text(encoding="utf-8").replace('\\"', '"')


@pytest.mark.parametrize(
    "text",
    [
        "说明：甲更准确。\nScore-A：8\nScore-B：3",
        "Score-A：8 ，很好\nScore-B＝3",
        "**Score-A**：８\n**Score-B**：３",
        "Score-A: ٨\nScore-B: ٣",
    ],
)
def test_colons_and_digits_of_other_scripts_are_read(text):
    assert read_scores(text) == (8, 3, None)


def test_the_same_question_after_another_history_is_another_game(tmp_path, make_response):
    foreign = FOREIGN["Chinese"]
    one = foreign.instruction("i1")
    other = one.model_copy(
        update={"turns": (one.turns[0], Turn(role="assistant", content="莱茵河。"), one.turns[2])}
    )
    asked: list[str] = []

    def says(prompt: str, _: int) -> str:
        asked.append(prompt)
        return "Score-A: 8\nScore-B: 3"

    judge = LlmJudge("m", ScriptedEngine(says), JudgeTemplate("multi-turn", Path()), Sampling(), 1)
    responses = {("i1", c): make_response("i1", c, t) for c, t in (("a", foreign.good), ("b", foreign.poor))}
    with Store(tmp_path / "s.sqlite") as store:
        for instruction in (one, other, one):
            play_games([Pairing("i1", "a", "b")], {"i1": instruction}, responses, judge, store)
    assert [("莱茵河。" in prompt) for prompt in asked] == [False, False, True, True]


@pytest.mark.parametrize("name", ["German", "Chinese", "Thai", "Hindi", "Arabic"])
def test_the_longer_answer_is_the_longer_one_in_scripts_without_spaces_too(name):
    foreign = FOREIGN[name]
    (verdict,) = LengthBaselineJudge().score([present(foreign.good * 2, foreign.good)])
    assert verdict.score_first is not None
    assert verdict.score_second is not None
    assert verdict.score_first > verdict.score_second


@pytest.mark.parametrize(("language", "flaws"), [("de", 0), ("de-AT", 0), ("en", 1), ("en-GB", 1)])
def test_prose_in_the_instructions_own_language_is_no_flaw(language, flaws):
    presentation = present(FOREIGN["German"].good, "", FOREIGN["German"].instruction("i1"))
    instruction = presentation.instruction.model_copy(update={"language": language})
    assert len(find_penalties(instruction, presentation.first, [])) == flaws
