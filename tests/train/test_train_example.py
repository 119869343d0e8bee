"""The example of a training method in examples/ really trains, and what CONTRIBUTING.md says of methods is whole."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from tiny import END_OF_TURN, write_preferences

pytestmark = pytest.mark.torch
EXAMPLE = Path(__file__).parents[2] / "examples" / "add_a_training_method.py"
PAIRS = [
    ("Name a colour.", "The colour is blue.", "I do not know that."),
    ("Name a river.", "The river is the Danube.", "I do not know that."),
    ("Name a planet.", "The planet is Mars.", "It has eight."),
]


def per_token(folder, question, answer):
    """Return the mean log-probability of an answer's tokens, its end of turn among them."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    turns = [{"role": "user", "content": question}]
    asked = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    said = tokenizer.encode(answer + END_OF_TURN, add_special_tokens=False)
    with torch.inference_mode():
        logs = model(torch.tensor([asked + said])).logits[0].log_softmax(-1)
    places = range(len(asked) - 1, len(asked) + len(said) - 1)
    return sum(float(logs[place, token]) for place, token in zip(places, said, strict=True)) / len(said)


@pytest.fixture
def pairs(tmp_path):
    return write_preferences(tmp_path / "preferences.jsonl", PAIRS)


def test_ipo_puts_the_chosen_answers_as_far_above_the_rejected_ones_as_beta_says(tiny_model, pairs, tmp_path):
    example = runpy.run_path(str(EXAMPLE))
    settings = example["Ipo"](epochs=60, learning_rate=1e-3, batch_size=3, device_batch_size=3, beta=0.5)
    trained = example["try_ipo"](tiny_model, pairs, tmp_path / "out", settings)
    # The loss is (margin - 1 / (2 * 0.5))^2 = (margin - 1)^2, and the margin begins at 0.
    assert trained.curve[0]["loss"] == pytest.approx(1.0, abs=1e-3)
    assert trained.curve[-1]["loss"] < 0.05
    for question, chosen, rejected in PAIRS:
        gained, lost = (
            per_token(tmp_path / "out", question, answer) - per_token(tiny_model, question, answer)
            for answer in (chosen, rejected)
        )
        assert gained - lost == pytest.approx(1.0, abs=0.25)
    assert {path.name for path in tmp_path.iterdir()} == {"out", "preferences.jsonl"}


def test_its_command_writes_a_model(tiny_model, pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [EXAMPLE.name, str(tiny_model), str(pairs), str(tmp_path / "out")])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        path.name for path in tiny_model.iterdir()
    }
