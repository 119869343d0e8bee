"""Frozen first layers: they keep the start's weights, and what is above learns as it would without them."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from arena_learning.core import ArenaError  # noqa: E402
from arena_learning.params import Footprint, Train  # noqa: E402
from arena_learning.train import train_round  # noqa: E402
from arena_learning.train.freeze import cast_once, freeze_first_layers  # noqa: E402
from tiny import build_tiny_model, model_of, write_preferences, write_sft  # noqa: E402

OF_GPT2 = {"n_embd": 32, "n_head": 4, "n_positions": 64}
# Of a model with two of its three layers frozen: the parts of the names of what is learnt.
LEARNT = [
    ("Llama", {"tie_word_embeddings": False}, {"layers.2", "norm", "lm_head"}),
    ("Llama", {"tie_word_embeddings": True}, {"layers.2", "norm"}),
    ("Qwen3", {"tie_word_embeddings": True}, {"layers.2", "norm"}),
    ("Gemma3Text", {"layer_types": ["full_attention"] * 3}, {"layers.2", "norm"}),
    ("GPT2", OF_GPT2, {"h.2", "ln_f"}),
    ("GPTNeoX", {}, {"layers.2", "final_layer_norm", "embed_out", "lm_head"}),
    ("OPT", {"ffn_dim": 64, "word_embed_proj_dim": 32}, {"layers.2"}),
    ("Phi3", {"tie_word_embeddings": False}, {"layers.2", "norm", "lm_head"}),
]


def three_layers(kind: str = "Llama", **given: Any) -> Any:
    return model_of(kind, num_hidden_layers=3, **given)


def learnt(model: Any) -> set[str]:
    return {name for name, weight in model.named_parameters() if weight.requires_grad}


@pytest.mark.parametrize(("kind", "given", "parts"), LEARNT, ids=[kind for kind, *_ in LEARNT])
def test_what_is_learnt_lies_above_the_frozen_layers(kind, given, parts):
    model = three_layers(kind, **given)
    freeze_first_layers(model, Footprint(frozen_layers=0.67))
    names = learnt(model)
    assert any(".2." in name for name in names)
    for name in names:
        assert any(f".{part}." in f".{name}" for part in parts), name
    ids = torch.arange(1, 13)[None]
    model(input_ids=ids, labels=ids).loss.backward()
    assert {name for name, weight in model.named_parameters() if weight.grad is not None} == names


def test_gradients_above_are_those_of_a_whole_training():
    ids = torch.arange(1, 25).view(2, 12)
    whole, part = three_layers(), three_layers()
    freeze_first_layers(part, Footprint(frozen_layers=0.34))
    for model in (whole, part):
        model(input_ids=ids, labels=ids).loss.backward()
    theirs = dict(whole.named_parameters())
    assert len(learnt(part)) > 10
    for name in learnt(part):
        torch.testing.assert_close(dict(part.named_parameters())[name].grad, theirs[name].grad)


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_less_than_a_layer_freezes_nothing(share):
    model = three_layers()
    everything = learnt(model)
    freeze_first_layers(model, Footprint(frozen_layers=share))
    assert learnt(model) == everything


def test_layers_that_are_not_found_are_an_error():
    model = three_layers()
    model.config.num_hidden_layers = 7
    with pytest.raises(ArenaError, match="7 layers of LlamaForCausalLM are not found") as caught:
        freeze_first_layers(model, Footprint(frozen_layers=0.5))
    assert "set frozen_layers to 0" in str(caught.value)


def test_frozen_weights_are_cast_once_for_all_sampled_tokens_and_stay_frozen():
    model = three_layers()
    freeze_first_layers(model, Footprint(frozen_layers=0.67))
    names = learnt(model)
    config = {"max_new_tokens": 6, "do_sample": False}
    with torch.no_grad():
        plain = model.generate(torch.tensor([[5, 6, 7]]), **config)
        with cast_once(model):
            assert learnt(model) == names  # without autocast nothing is cast
        with torch.autocast("cpu", torch.bfloat16):
            before = model.generate(torch.tensor([[5, 6, 7]]), **config)
            with cast_once(model):
                assert len(learnt(model)) > len(names)
                assert torch.equal(model.generate(torch.tensor([[5, 6, 7]]), **config), before)
    assert learnt(model) == names
    assert plain.shape == before.shape


@pytest.fixture(scope="module")
def lively(tmp_path_factory):
    return build_tiny_model(tmp_path_factory.mktemp("lively") / "base", tied=False)


@pytest.fixture
def train(lively, tmp_path):
    """Train by a method with one of two layers frozen; give the weights before and after."""
    facts = [("Name a colour.", "The colour is blue."), ("Name a river.", "The river is the Danube.")] * 2

    def run(method, **settings):
        from safetensors.torch import load_file

        base = {"learning_rate": 1e-3, "batch_size": 2, "device_batch_size": 2, "max_length": 128}
        if method == "ppo":
            settings = {"max_tokens": 6, "reward": base} | settings
        train_round(
            method,
            init=lively,
            out=tmp_path / "out",
            sft=write_sft(tmp_path / "sft.jsonl", facts),
            preferences=write_preferences(tmp_path / "pairs.jsonl", [(*f, "I do not know.") for f in facts]),
            params=Train.model_validate({"device": "cpu", method: base | {"frozen_layers": 0.5} | settings}),
            seed=1,
            checkpoints=tmp_path / "checkpoints",
        )
        return load_file(lively / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors")

    return run


@pytest.mark.parametrize(
    ("method", "more"),
    [("sft", {}), ("sft", {"activation_checkpointing": True}), ("dpo", {}), ("ppo", {}), ("ppo", {"value": "head"})],
    ids=["sft", "sft again", "dpo", "ppo", "ppo head"],
)  # fmt: skip
def test_a_training_leaves_frozen_layers_to_the_bit_and_trains_the_others(train, method, more):
    before, after = train(method, **more)
    kept = {name for name in before if name.startswith(("model.embed_tokens", "model.layers.0."))}
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert kept <= same
    matrices = {name for name in before if "proj" in name or name == "lm_head.weight"}
    assert not same & (matrices - kept)


def test_what_was_made_before_the_key_stays_what_it_is():
    assert "frozen_layers" not in Train().sft.learnt_by()
    assert "frozen_layers" not in Train().ppo.learnt_by()["reward"]
    assert Train.model_validate({"sft": {"frozen_layers": 0.5}}).sft.learnt_by()["frozen_layers"] == 0.5


def test_adapters_freeze_everything_already():
    with pytest.raises(ValueError, match="set frozen_layers or lora_rank to 0"):
        Train.model_validate({"sft": {"frozen_layers": 0.5, "lora_rank": 4}})
