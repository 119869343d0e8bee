"""The memory that a training needs: by hand, against the model, and what is said when there is too little."""

from __future__ import annotations

from pathlib import Path

import pytest

from arena_learning.core import ArenaError, Paths, table_markdown
from arena_learning.params import Train, load_params
from arena_learning.train import memory_table, plan_memory

pytestmark = pytest.mark.torch

REPOSITORY = Path(__file__).parents[2]
GIB = 2**30


@pytest.fixture(scope="module")
def mistral(tmp_path_factory):
    """A folder with the configuration of Mistral-7B-v0.1, which are transformers' defaults, and no weights."""
    from transformers import MistralConfig

    folder = tmp_path_factory.mktemp("mistral")
    MistralConfig(architectures=["MistralForCausalLM"]).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def seven(mistral):
    from arena_learning.train.model_size import model_size

    return model_size(mistral)


def need(seven, method="sft", *, precision="fp32", **settings):
    from arena_learning.train.memory import memory_of

    where = {name: settings.pop(name) for name in ("processes", "strategy", "longest") if name in settings}
    base = {"batch_size": 16, "device_batch_size": 2, "max_length": 1024}
    train = Train.model_validate({"precision": precision, method: base | settings})
    return memory_of(method, seven, train, **where)


def test_the_sizes_are_those_of_the_model(seven, tiny_model):
    from safetensors.torch import load_file

    from arena_learning.train.model_size import model_size

    # Published: 7.24 billion. Embedding and head 2 x 32,000 x 4,096, a layer 218,112,000, and the last norm.
    assert seven.weights == 2 * 32_000 * 4_096 + 32 * 218_112_000 + 4_096
    assert (seven.hidden, seven.layers, seven.inner, seven.cached, seven.vocabulary) == (
        4096,
        32,
        14336,
        1024,
        32000,
    )
    tensors = load_file(tiny_model / "model.safetensors").values()
    assert model_size(tiny_model).weights == sum(tensor.numel() for tensor in tensors)


def test_weights_gradients_and_moments_by_hand(seven):
    count = seven.weights
    one = need(seven)
    assert (one.weights, one.gradients, one.optimiser) == (4 * count, 4 * count, 8 * count)
    half = need(seven, precision="bf16")
    assert half.weights == 6 * count  # and a copy in bf16
    pure = need(seven, weights="bf16")
    assert (pure.weights, pure.gradients, pure.optimiser) == (2 * count, 2 * count, 4 * count)
    assert need(seven, optimiser="adamw_8bit").optimiser == 2 * count
    assert need(seven, optimiser="paged_adamw").optimiser == 0
    assert need(seven, processes=8, strategy="ddp").gradients == 8 * count  # and DDP's buffers
    # Sixteen of 32 layers frozen, and the embeddings
    learnt = count - 32_000 * 4_096 - 16 * seven.layer
    frozen = need(seven, frozen_layers=0.5)
    assert (frozen.weights, frozen.gradients, frozen.optimiser) == (4 * count, 4 * learnt, 8 * learnt)
    assert (
        need(seven, frozen_layers=0.5, precision="bf16").weights == 4 * count + 2 * learnt + 2 * seven.layer
    )
    assert frozen.activations == one.activations / 2
    shards = need(seven, processes=8, strategy="sharded")
    assert (shards.gradients, shards.optimiser) == (count / 2, count)
    assert shards.weights == count / 2 + 4 * (2 * seven.layer + 32_000 * 4_096)
    # LoRA of rank 1: q and o 4,096 + 4,096 each, k and v 4,096 + 1,024, three of the MLP 4,096 + 14,336; 32 layers.
    adapters = 32 * (2 * 8_192 + 2 * 5_120 + 3 * 18_432)
    lora = need(seven, lora_rank=1)
    assert (lora.weights, lora.gradients, lora.optimiser) == (
        4 * count + 4 * adapters,
        4 * adapters,
        8 * adapters,
    )


def test_activations_grow_with_rows_and_checkpointing_keeps_one_layer(seven):
    one, two = need(seven, device_batch_size=1), need(seven, device_batch_size=2)
    assert two.activations == 2 * one.activations
    assert need(seven, device_batch_size=1, longest=512).activations == one.activations / 2
    assert need(seven, "dpo", device_batch_size=1).activations == two.activations  # chosen and rejected
    kept = need(seven, device_batch_size=1, activation_checkpointing=True)
    # 1,024 tokens: the input of 32 layers in fp32, and one layer whole
    assert kept.activations == 1024 * 32 * 4 * 4096 + one.activations / 32
    # Eight processes share a batch of 16: two rows each, however many a device could read.
    shared = need(seven, device_batch_size=8, processes=8, strategy="ddp")
    assert shared.activations == two.activations


def test_ppo_holds_four_models_or_two_with_adapters(seven):
    # A small training of the reward model, so that it is not the one that needs most.
    settings = {"reward": {"lora_rank": 1, "max_length": 16}, "max_tokens": 64}
    whole = need(seven, "ppo", **settings)
    assert whole.weights == 2 * 4 * seven.weights
    assert whole.others == 2 * 4 * seven.weights
    assert whole.optimiser == 2 * 8 * seven.weights
    assert whole.gradients == 4 * seven.weights  # one model's at a time
    assert need(seven, "ppo", value="head", **settings).weights == 4 * seven.weights
    lora = need(seven, "ppo", lora_rank=16, **settings)
    assert lora.others == 4 * seven.weights
    assert lora.weights < 1.1 * 4 * seven.weights


def test_too_little_memory_is_said_with_what_takes_it_and_what_helps(seven):
    from arena_learning.train.memory import check_memory

    found = need(seven)
    check_memory("train.sft", found, found.total)
    with pytest.raises(ArenaError, match=r"needs \d+\.\d GiB on each GPU \(weights 27\.0") as caught:
        check_memory("train.sft", found, 79 * GIB)
    assert caught.value.where == "train.sft"
    assert "lora_rank" in caught.value.hint
    with pytest.raises(ArenaError) as caught:
        check_memory("train.sft", need(seven, max_length=8192, device_batch_size=8), 79 * GIB)
    assert "activation_checkpointing" in caught.value.hint


def paper(mistral, **more):
    params = load_params(REPOSITORY / "profiles" / "paper.yaml")
    return plan_memory(params, Paths(REPOSITORY), model=str(mistral), **more)


def test_the_papers_trainings_fit_eight_gpus_of_80_gb(mistral):
    rows = paper(mistral)
    assert [(row.method, row.gpus, row.strategy) for row in rows] == [
        ("sft", 8, "sharded"),
        ("dpo", 8, "sharded"),
        ("ppo", 8, "ddp"),
    ]
    assert all(row.need.total < 79 * GIB for row in rows)


def test_the_guides_table_is_what_the_command_says(mistral):
    page = (REPOSITORY / "docs" / "guide" / "gpus.md").read_text(encoding="utf-8")
    assert table_markdown(memory_table(paper(mistral, gpus=(1, 8, 16)), 79.0)) in page


def test_a_model_without_a_configuration_is_an_error(tmp_path):
    from arena_learning.train.model_size import model_size

    with pytest.raises(ArenaError, match="no model's configuration"):
        model_size(tmp_path / "gone")


def test_the_command_prints_what_the_rounds_need(tmp_path, tiny_model, monkeypatch):
    import json
    import shutil

    from click.testing import CliRunner

    from arena_learning.cli.main import cli

    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    shutil.copytree(tiny_model, tmp_path / "models" / "base")
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(cli, ["plan", "--memory"], catch_exceptions=False)
    assert said.exit_code == 0
    assert [line.split()[0] for line in said.output.splitlines()] == [
        "method",
        "------",
        "sft",
        "dpo",
        "rloo",
    ]
    found = json.loads(
        CliRunner().invoke(cli, ["plan", "--json", "--gpus", "2"], catch_exceptions=False).output
    )
    kinds = [(row["method"], row["strategy"]) for row in found["memory"]]
    assert kinds == [("sft", "ddp"), ("sft", "sharded"), ("dpo", "ddp"), ("dpo", "sharded"), ("rloo", "ddp")]
