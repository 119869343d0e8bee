"""What a training keeps in memory, by parameter: the same result where only memory changes."""

from __future__ import annotations

import pytest

from arena_learning.core import ArenaError
from arena_learning.params import Train
from arena_learning.train import train_round
from tiny import build_tiny_model, write_preferences, write_sft

pytestmark = pytest.mark.torch

FACTS = [("Name a colour.", "The colour is blue."), ("Name a river.", "The river is the Danube.")] * 2


@pytest.fixture(scope="module")
def lively(tmp_path_factory):
    """A model that says anything: untied and untrained."""
    return build_tiny_model(tmp_path_factory.mktemp("lively") / "base", tied=False)


@pytest.fixture
def train(lively, tmp_path):
    sft = write_sft(tmp_path / "sft.jsonl", FACTS)
    pairs = write_preferences(tmp_path / "pairs.jsonl", [(*fact, "I do not know that.") for fact in FACTS])

    def run(method, **settings):
        base = {
            "learning_rate": 1e-3,
            "batch_size": 2,
            "device_batch_size": 2,
            "max_length": 128,
            "epochs": 4,
        }
        if method == "ppo":
            settings = {"max_tokens": 6, "reward": base} | settings
        report = train_round(
            method,
            init=lively,
            out=tmp_path / "out",
            sft=sft,
            preferences=pairs,
            params=Train.model_validate({"device": "cpu", method: base | settings}),
            seed=1,
            checkpoints=tmp_path / "checkpoints",
        )
        return [point["loss"] for point in report.phases[-1].curve], tmp_path / "out"

    return run


def weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("method", ["sft", "dpo"])
@pytest.mark.parametrize(
    "more", [{"activation_checkpointing": True}, {"attention": "eager"}], ids=["again", "eager"]
)
def test_what_is_computed_otherwise_ends_the_same(train, method, more):
    import torch

    losses, folder = train(method)
    plain = weights(folder)
    again, folder = train(method, **more)
    assert again == pytest.approx(losses, abs=1e-5)
    for name, tensor in weights(folder).items():
        torch.testing.assert_close(tensor, plain[name], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("method", "more"), [("sft", {}), ("dpo", {}), ("ppo", {}), ("sft", {"lora_rank": 4})]
)
def test_weights_in_bf16_are_trained_in_bf16_and_saved_as_others(train, method, more):
    import torch
    from torch.nn.modules.module import register_module_forward_hook

    seen = set()

    def look(module, inputs, output):
        if type(module).__name__ == "LlamaDecoderLayer":
            seen.update(weight.dtype for name, weight in module.named_parameters() if "lora" not in name)

    hook = register_module_forward_hook(look)
    try:
        reward = (
            {"reward": {"weights": "bf16", "max_length": 128, "batch_size": 2}} if method == "ppo" else {}
        )
        losses, folder = train(method, weights="bf16", **more, **reward)
    finally:
        hook.remove()
    assert seen == {torch.bfloat16}
    assert {str(tensor.dtype) for tensor in weights(folder).values()} == {"torch.float32"}
    if method != "ppo":
        assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("settings", "package"),
    [
        ({"optimiser": "adamw_8bit"}, "bitsandbytes"),
        ({"optimiser": "paged_adamw"}, "bitsandbytes"),
        ({"kernels": "liger"}, "liger-kernel"),
        ({"attention": "flash_attention_2"}, "flash-attn"),
    ],
)
def test_a_package_that_is_missing_is_named(train, settings, package, monkeypatch):
    from arena_learning.train import arguments

    monkeypatch.setattr(arguments, "find_spec", lambda name: None)
    with pytest.raises(ArenaError, match=f"needs the package {package}") as caught:
        train("sft", **settings)
    assert caught.value.where.startswith("train.sft.")
    assert f"pip install {package}" in caught.value.hint


def test_ppo_says_what_it_cannot_do():
    with pytest.raises(ValueError, match="checkpoints no activations"):
        Train.model_validate({"ppo": {"activation_checkpointing": True}})
    with pytest.raises(ValueError, match="set launch in train"):
        Train.model_validate({"ppo": {"reward": {"launch": {"kind": "accelerate", "processes": 2}}}})
