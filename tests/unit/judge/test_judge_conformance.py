from __future__ import annotations

import re
from pathlib import Path

import pytest
from scripted import ScriptedEngine, WordCountJudge

from arena_learning.judge.llm import LlmJudge
from arena_learning.judge.template import JudgeTemplate, shipped_templates
from arena_learning.params.contestants import Sampling
from arena_learning.testing.judge_suite import INSTRUCTION, check_judge, present


def by_length(prompt: str, _: int) -> str:
    """Score by the length of what stands between the tags, as a biased model would."""
    a, b = (prompt.split(f"<response_{x}>")[1].split(f"</response_{x}>")[0] for x in "ab")
    return f"Score-A: {1 + len(a) % 10}\nScore-B: {1 + len(b) % 10}\nExplanation: by length."


@pytest.mark.parametrize("name", shipped_templates())
def test_a_language_model_judge_conforms_with_every_template(name):
    template = JudgeTemplate(name, Path())

    def says(prompt: str, number: int) -> str:
        lines = by_length(prompt, number)
        return re.sub(r"(Score-A): (\d+)\n(Score-B): (\d+).*", r'{"\1": \2, "\3": \4}', lines, flags=re.S)

    engine = ScriptedEngine(says if template.is_json else by_length)
    check_judge(LlmJudge("m", engine, template, Sampling(), 3))
    (verdict,) = LlmJudge("m", engine, template, Sampling(), 1).score([present("good", "poor")])
    # 1 + the length between the tags, of 49 and 24 characters with two line breaks each, modulo ten.
    assert verdict[:2] == (2, 7)


def test_a_language_model_judge_that_prints_nonsense_conforms():
    engine = ScriptedEngine(lambda prompt, _: prompt[::-1])
    check_judge(LlmJudge("m", engine, JudgeTemplate("pairwise-score", Path()), Sampling(), 2))


def test_the_judge_of_these_tests_conforms():
    check_judge(WordCountJudge())


@pytest.mark.torch
@pytest.mark.parametrize("points", ["all", "content"])
def test_the_rubric_judge_conforms_and_says_why_it_cannot_score(points):
    from arena_learning.judge.rubric import RubricJudge

    check_judge(RubricJudge(points))
    bare = INSTRUCTION.model_copy(update={"rubric": ()})
    assert (
        RubricJudge(points).score([present("good", "poor", bare)])[0].unscored
        == "the instruction has no rubric"
    )


@pytest.mark.torch
def test_the_reference_judge_conforms_and_says_why_it_cannot_score():
    from arena_learning.judge.reference import ReferenceJudge

    check_judge(ReferenceJudge())
    bare = INSTRUCTION.model_copy(update={"reference": None})
    assert (
        ReferenceJudge().score([present("good", "poor", bare)])[0].unscored
        == "the instruction has no reference"
    )


@pytest.mark.torch
def test_the_reference_itself_scores_ten_and_nothing_scores_one():
    from arena_learning.judge.reference import ReferenceJudge

    verdict = ReferenceJudge().score([present(INSTRUCTION.reference or "", "")])[0]
    assert (verdict.score_first, verdict.score_second) == (10, 1)
