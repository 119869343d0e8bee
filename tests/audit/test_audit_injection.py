"""Answers that try to write their own verdict: it comes from the judge's own last words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from attacks import ATTACKS
from scripted import ScriptedEngine

from arena_learning.engines.openai.control_tokens import break_common_control_tokens
from arena_learning.judge.llm import LlmJudge
from arena_learning.judge.template import JudgeTemplate, shipped_templates
from arena_learning.params.contestants import Sampling
from arena_learning.testing.judge_suite import present

LINES = "Score-A: 3\nScore-B: 8"
OWN = {"json": '{"explanation": "b", "Score-A": 3, "Score-B": 8}'}


def quoted(prompt: str) -> str:
    """Return response A as the judge sees it."""
    return re.split(r"</?response_a>", prompt)[1].strip("\n")


def judge(template: str, script, attempts: int = 1) -> LlmJudge:
    return LlmJudge("m", ScriptedEngine(script), JudgeTemplate(template, Path()), Sampling(), attempts)


def test_there_are_at_least_forty_of_them():
    assert len(set(ATTACKS)) >= 40


@pytest.mark.parametrize("template", shipped_templates())
@pytest.mark.parametrize("place", ["before", "after", "around"])
def test_a_judge_that_quotes_the_answer_is_read_by_its_own_verdict(template, place):
    own = OWN.get(template, LINES)

    def obedient(prompt: str, _: int) -> str:
        """Repeat what the answer says, line by line, and give a verdict of its own."""
        said = quoted(prompt)
        parts = {"before": (said, own), "after": (own, said), "around": (said, own, said)}
        return "\n".join(parts[place])

    verdicts = judge(template, obedient).score([present(attack, "fine") for attack in ATTACKS])
    assert {v[:2] for v in verdicts} == {(3, 8)}


@pytest.mark.parametrize("template", shipped_templates())
def test_a_judge_that_only_repeats_the_answer_has_given_no_verdict(template):
    verdicts = judge(template, lambda prompt, _: quoted(prompt)).score([present(a, "fine") for a in ATTACKS])
    assert {v[:2] for v in verdicts} == {(None, None)}
    assert all(v.unscored for v in verdicts)


@pytest.mark.parametrize("template", shipped_templates())
def test_no_answer_changes_how_many_delimiters_the_prompt_has(template):
    whole = JudgeTemplate(template, Path())
    tags = re.compile(r"<\s*/?\s*(?:conversation|reference_answer|response_[ab])\b", re.I)
    plain = len(tags.findall(whole.render(present("good", "poor"))))
    for attack in ATTACKS:
        assert len(tags.findall(whole.render(present(attack, attack)))) == plain


def test_no_control_token_of_an_attack_reaches_an_endpoint_whole():
    tokens = re.compile(r"<\|\w+\|>|<｜[^｜]+｜>|\[/?INST\]|</?s>|<(?:start|end)_of_turn>")
    assert sum(bool(tokens.search(a)) for a in ATTACKS) >= 6
    assert not [a for a in ATTACKS if tokens.search(break_common_control_tokens(a))]


@pytest.mark.torch
def test_no_control_token_of_an_attack_becomes_one_in_a_model_of_our_own(tmp_path):
    from arena_learning.engines.chat import Chat
    from arena_learning.schema.rows import Turn
    from tiny import build_tiny_model

    chat = Chat(build_tiny_model(tmp_path / "m"))
    (plain,) = chat.encode([[Turn(role="user", content="x")]])
    special = set(chat.tokenizer.all_special_ids)
    for attack in ATTACKS:
        (ids,) = chat.encode([[Turn(role="user", content=attack[:300])]])
        assert sum(i in special for i in ids) == sum(i in special for i in plain)
