"""A model's loss on answers, after the instruction and without it, and the order that `ifd` makes of it."""

from __future__ import annotations

import pytest

from arena_learning.dataset import strategy
from arena_learning.dataset.strategy import (
    LearntAnswer,
    StrategySources,
    following_difficulties,
    strategy_order,
)
from arena_learning.engines import AnswerLoss, Chat, ChatFormat, answer_losses
from arena_learning.engines.likelihood import _Encoder
from arena_learning.schema import Turn

ASKED = (
    "Name a river.",
    "What is two and two?",
    "Name a colour.",
    "How many legs has a spider?",
    "Name a planet.",
)
SAID = ("The river is the Danube.", "Two and two is four.", "Blue", "It has eight.", "The planet is Mars.")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from tiny import build_tiny_model

    return build_tiny_model(tmp_path_factory.mktemp("likelihood") / "base", tied=False)


@pytest.fixture
def rows(make_instruction):
    asked = zip(ASKED, SAID, strict=True)
    return [LearntAnswer(make_instruction(f"i{n}", text), answer) for n, (text, answer) in enumerate(asked)]


def by_hand(folder, text, answer):
    """The loss that transformers itself computes for one sequence, its labels only on the answer."""
    import torch
    from transformers import AutoModelForCausalLM

    chat = Chat(folder)
    (prompt,) = chat.prompts([(Turn(role="user", content=text),)])
    learnt = ChatFormat(chat).learn(answer).answer
    ids = torch.tensor([prompt + learnt])
    labels = torch.tensor([[-100] * len(prompt) + learnt])
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        return float(model(input_ids=ids, labels=labels).loss)


def test_losses_are_those_of_the_model_alone_whatever_the_batch(model, rows):
    pairs = [(row.instruction.turns, row.answer) for row in rows]
    found: dict[int, AnswerLoss | None] = {}
    for numbers, losses in answer_losses(model, pairs):
        found |= dict(zip(numbers, losses, strict=True))
    assert sorted(found) == list(range(len(rows)))
    for n, (text, answer) in enumerate(zip(ASKED, SAID, strict=True)):
        assert found[n].after == pytest.approx(by_hand(model, text, answer), abs=1e-4)
        assert found[n].alone == pytest.approx(by_hand(model, "", answer), abs=1e-4)


def test_losses_are_remembered_by_text_and_weights(model, rows, tmp_path, monkeypatch):
    sources = StrategySources(vectors=tmp_path / "vectors.sqlite", model=model)
    first = following_difficulties(rows[:3], sources)
    asked: list[int] = []

    def counted(folder, pairs, **options):
        asked.append(len(pairs))
        return answer_losses(folder, pairs, **options)

    monkeypatch.setattr(strategy, "answer_losses", counted)
    again = following_difficulties(rows, sources)
    assert asked == [2]
    assert {i: again[i] for i in first} == first
    assert following_difficulties(rows, sources) == again
    assert asked == [2, 0]
    # Without a memory the figures are the same: what is remembered is what was computed.
    assert following_difficulties(rows, StrategySources(model=model)) == again


def test_the_highest_difficulty_below_one_comes_first(rows, monkeypatch):
    found = dict(zip((row.instruction.id for row in rows), (0.5, 1.2, 0.9, None, 1.0), strict=True))
    monkeypatch.setattr(strategy, "following_difficulties", lambda rows, sources: found)
    assert strategy_order("ifd", rows, 3, StrategySources()) == ["i2", "i0", "i1", "i4", "i3"]


def test_what_exceeds_the_context_is_cut_off_and_no_answer_is_none(model):
    """The context is 512 tokens: the first conversation fills it, the second leaves room for a part of its answer."""
    fills, leaves = "What is two and two? " * 200, "Name a colour. " * 60
    pairs = [((Turn(role="user", content=text),), "It has eight. " * 100) for text in (fills, leaves)]
    encoder = _Encoder(model, trust_remote_code=False)
    assert encoder.encode(*pairs[0]) is None
    second = encoder.encode(*pairs[1])
    assert len(second.prompt) < 512 == len(second.prompt) + len(second.answer)
    found: dict[int, AnswerLoss | None] = {}
    for numbers, losses in answer_losses(model, pairs):
        found |= dict(zip(numbers, losses, strict=True))
    assert found[0] is None
    assert min(found[1]) > 0
