"""Trainings in two processes (gloo, on the CPU) end as in one."""

from __future__ import annotations

import pytest

from arena_learning.params import Train
from arena_learning.train import train_round
from tiny import build_tiny_model, write_preferences, write_sft

pytestmark = pytest.mark.torch

# Eleven rows of many lengths: with a batch of 4, the last step of an epoch has three rows, which two cannot share evenly.
QUESTIONS = [f"What is {n} and {n}?" + " Tell me more." * (n % 4) for n in range(11)]
SFT = [(question, "The planet is Mars." * (1 + n % 3)) for n, question in enumerate(QUESTIONS)]
PAIRS = [(question, "Two and two is four." * (1 + n % 2), "No.") for n, question in enumerate(QUESTIONS)]
TWO = {"kind": "accelerate", "processes": 2}


@pytest.fixture(scope="module")
def lively(tmp_path_factory):
    """A model that says anything: untied and untrained."""
    return build_tiny_model(tmp_path_factory.mktemp("lively") / "base", tied=False)


def optimiser(**over):
    few = {"epochs": 2, "learning_rate": 1e-3, "batch_size": 4, "device_batch_size": 2, "max_length": 128}
    return few | over


@pytest.fixture
def train(lively, tmp_path):
    """Train the lively model: `train(method, launch, {...})` gives the report and the folder."""
    write_sft(tmp_path / "sft.jsonl", SFT)
    write_preferences(tmp_path / "preferences.jsonl", PAIRS)

    def run(method, launch, settings, *, init=lively, **top):
        name = f"{method}-{launch.get('processes', 1)}"
        params = {"device": "cpu", "launch": launch, method: settings, **top}
        report = train_round(
            method,
            init=init,
            out=tmp_path / name,
            sft=tmp_path / "sft.jsonl",
            preferences=tmp_path / "preferences.jsonl",
            params=Train.model_validate(params),
            seed=1,
            checkpoints=tmp_path / "checkpoints",
        )
        return report, tmp_path / name

    run.folder = tmp_path
    return run


def weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def check_equal(one, two):
    """Compare two results: rows, steps, each step's loss, weights."""
    import torch

    (report, folder), (other, again) = one, two
    assert (report.cost.processes, other.cost.processes) == (1, 2)
    assert [phase.rows for phase in report.phases] == [phase.rows for phase in other.phases]
    for phase, same in zip(report.phases, other.phases, strict=True):
        assert phase.steps == same.steps
        assert len(phase.curve) == len(same.curve) > 0
        for point, twin in zip(phase.curve, same.curve, strict=True):
            assert twin["step"] == point["step"]
            assert twin["loss"] == pytest.approx(point["loss"], abs=1e-4)
            assert twin["lr"] == pytest.approx(point["lr"])
    ours, theirs = weights(folder), weights(again)
    assert ours.keys() == theirs.keys()
    moved = max(
        float((ours[name] - start).abs().max()) for name, start in weights(folder.parent / "start").items()
    )
    assert moved > 1e-3
    for name, tensor in ours.items():
        torch.testing.assert_close(theirs[name], tensor, atol=2e-4, rtol=1e-3)
    assert report.weight_change.after_saving == pytest.approx(other.weight_change.after_saving, rel=1e-3)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("sft", optimiser()),
        ("sft", optimiser(device_batch_size=1, lora_rank=4)),
        ("dpo", optimiser()),
        ("dpo", optimiser(device_batch_size=4)),
        ("ppo", optimiser(max_tokens=6, epochs=1, reward=optimiser(batch_size=6, device_batch_size=3))),
    ],
    ids=["sft", "sft-lora", "dpo", "dpo-whole", "ppo"],
)
def test_two_processes_end_as_one(train, lively, method, settings):
    (train.folder / "start").symlink_to(lively)
    check_equal(train(method, {}, settings), train(method, TWO, settings))
    assert not (train.folder / "checkpoints").exists()
