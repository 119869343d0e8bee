"""What a configuration asks for is in the export, or the export is refused."""

from __future__ import annotations

import shutil

import pytest
from export_models import build, edit

from arena_learning.core.errors import ArenaError
from arena_learning.engines.gguf.config import read_computation, significant
from arena_learning.engines.gguf.export import export_gguf

pytestmark = pytest.mark.torch

LLAMA3 = {
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
    "factor": 8.0,
}
YARN = {"factor": 4.0, "original_max_position_embeddings": 128}
LONG = {
    "long_factor": [2.0] * 8,
    "short_factor": [1.0] * 8,
    "factor": 4.0,
    "original_max_position_embeddings": 128,
}
SCALINGS = [
    ("linear", {"factor": 4.0}),
    ("llama3", LLAMA3),
    ("yarn", YARN),
    ("dynamic", {"factor": 4.0}),
    ("longrope", LONG),
]


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return build(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture
def copy(llama, tmp_path):
    return shutil.copytree(llama, tmp_path / "model")


def refusal(folder, tmp_path):
    with pytest.raises(ArenaError) as caught:
        export_gguf(folder, None, tmp_path / "x.gguf", "f16")
    assert not (tmp_path / "x.gguf").exists()
    assert "serving.engine: transformers" in caught.value.hint
    return caught.value.what


@pytest.mark.parametrize(("kind", "settings"), SCALINGS, ids=[kind for kind, _ in SCALINGS])
@pytest.mark.parametrize("spelling", ["rope_scaling.type", "rope_scaling.rope_type", "rope_parameters"])
def test_a_scaled_rotary_embedding_is_refused_in_either_spelling(copy, tmp_path, kind, settings, spelling):
    key, _, name = spelling.partition(".")
    rope = {name or "rope_type": kind, **settings}
    if key == "rope_scaling":  # as transformers 4 wrote it
        edit(copy, rope_parameters=..., rope_theta=10000.0, rope_scaling=rope)
    else:
        edit(copy, rope_parameters={**rope, "rope_theta": 10000.0})
    assert f"rotary embedding of type {kind}" in refusal(copy, tmp_path)


def test_a_base_in_the_spelling_of_transformers_4_is_written(copy, tmp_path):
    edit(copy, rope_parameters=..., rope_theta=5e5, rope_scaling=None)
    assert read_computation(copy).rope_base == 5e5
    edit(copy, rope_theta=...)
    assert read_computation(copy).rope_base == 1e4  # Llama's own default


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_act": "gelu"}, "hidden_act 'gelu' would be lost"),
        ({"attention_bias": True}, "attention_bias: true is read wrongly"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor: 0.5 would be lost"),
        ({"rope_parameters": {"rope_theta": 1e4, "mrope_section": [4, 2, 2]}}, "mrope_section"),
        ({"logits_scaling": 8.0}, r"logits_scaling: 8.0"),
        (
            {"attention_multiplier": 0.1, "embedding_multiplier": 12},
            "attention_multiplier: 0.1, embedding_mul",
        ),
        ({"final_logit_softcapping": 30.0}, "final_logit_softcapping: 30.0"),
        ({"rope_interleaved": True}, "rope_interleaved: True"),
        ({"no_rope_layers": [1, 0]}, "no_rope_layers"),
        ({"a_new_idea": {"on": True}}, "a_new_idea"),
        ({"quantization_config": {"bits": 4}}, "quantised safetensors"),
        ({"auto_map": {"AutoModelForCausalLM": "own.Model"}}, "its own code"),
        ({"model_type": "granite"}, "LlamaForCausalLM of model_type 'granite'"),
        ({"architectures": None}, "unknown cannot be exported"),
    ],
)
def test_what_would_be_lost_is_refused(copy, tmp_path, changes, message):
    assert message in refusal(edit(copy, **changes), tmp_path)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("mistral", {"sliding_window": 32}, "sliding_window: 32 of 512 positions"),
        (
            "qwen2",
            {"use_sliding_window": True, "sliding_window": 32, "max_window_layers": 1},
            "sliding_window: 32",
        ),
        (
            "qwen3",
            {"use_sliding_window": True, "sliding_window": 32, "max_window_layers": 1},
            "sliding_window: 32",
        ),
    ],
)
def test_a_window_is_refused(tmp_path, kind, settings, message):
    assert message in refusal(build(tmp_path / "m", kind, **settings), tmp_path)


def test_a_window_as_long_as_the_context_is_none(tmp_path):
    folder = build(tmp_path / "m", "mistral", sliding_window=512)
    assert export_gguf(folder, None, tmp_path / "x.gguf", "f16").is_file()


def test_keys_that_change_no_answer_are_passed_over(copy, tmp_path):
    edit(
        copy,
        rope_interleaved=False,
        final_logit_softcapping=None,
        is_llama_config=True,
        torch_dtype="bfloat16",
        use_cache=False,
        unk_token_id=0,
        attention_dropout=0.1,
        transformers_version="4.40.0",
    )
    assert export_gguf(copy, None, tmp_path / "x.gguf", "f16").is_file()
    assert significant({"use_cache": True, "torch_dtype": "float32", "x": None, "hidden_size": 4}) == {
        "hidden_size": 4
    }


def test_a_configuration_that_transformers_refuses_is_an_error_that_names_it(copy, tmp_path):
    edit(copy, hidden_size="wide")
    with pytest.raises(ArenaError, match="cannot read the configuration") as caught:
        export_gguf(copy, None, tmp_path / "x.gguf", "f16")
    assert caught.value.where.endswith("config.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 2e4}}, "rope.freq_base': 10000.0"),
        ({"rms_norm_eps": 1e-5}, "layer_norm_rms_epsilon"),
        ({"num_key_value_heads": 4}, "head_count_kv': 2"),
    ],
)
def test_a_template_that_computes_otherwise_is_refused(llama, copy, tmp_path, change, message):
    template = export_gguf(llama, None, tmp_path / "t.gguf", "f16")
    with pytest.raises(ArenaError, match=message) as caught:
        export_gguf(edit(copy, **change), template, tmp_path / "x.gguf", "f16")
    assert "weights.source" in caught.value.hint


def rewritten(path, out, *, metadata=(), tensor=None):
    """Copy a GGUF file with other metadata, or with a tensor more."""
    import gguf
    import numpy as np

    reader = gguf.GGUFReader(str(path))
    writer = gguf.GGUFWriter(out, "llama")
    changed = dict(metadata)
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key == "general.architecture" or key in changed:
            continue
        items = field.types[-1] if len(field.types) > 1 else None
        writer.add_key_value(key, field.contents(), field.types[0], sub_type=items)
    for key, (value, kind) in changed.items():
        if value is not None:
            writer.add_key_value(key, value, kind)
    for each in reader.tensors:
        writer.add_tensor(each.name, np.array(each.data), raw_dtype=each.tensor_type)
    if tensor:
        writer.add_tensor(tensor, np.ones(8, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


def test_a_template_that_asks_for_what_is_not_read_is_refused(llama, tmp_path):
    from gguf import GGUFValueType as Kind

    made = export_gguf(llama, None, tmp_path / "t.gguf", "f16")
    for key, value, kind in (
        ("llama.rope.scaling.type", "linear", Kind.STRING),
        ("llama.rope.scaling.factor", 4.0, Kind.FLOAT32),
        ("llama.attention.sliding_window", 32, Kind.UINT32),
        ("llama.logit_scale", 2.0, Kind.FLOAT32),
    ):
        template = rewritten(made, tmp_path / "odd.gguf", metadata={key: (value, kind)})
        with pytest.raises(ArenaError, match=key):
            export_gguf(llama, template, tmp_path / "x.gguf", "f16")
    harmless = {"llama.rope.scaling.type": ("none", Kind.STRING), "llama.expert_count": (0, Kind.UINT32)}
    template = rewritten(made, tmp_path / "harmless.gguf", metadata=harmless)
    assert export_gguf(llama, template, tmp_path / "x.gguf", "f16").is_file()
    scaled = rewritten(made, tmp_path / "scaled.gguf", tensor="rope_freqs.weight")
    with pytest.raises(ArenaError, match=r"rope_freqs\.weight") as caught:
        export_gguf(llama, scaled, tmp_path / "y.gguf", "f16")
    assert "safetensors" in caught.value.hint


def test_what_a_template_leaves_out_has_the_readers_default(llama, copy, tmp_path):
    from gguf import GGUFValueType as Kind

    made = export_gguf(llama, None, tmp_path / "t.gguf", "f16")
    silent = rewritten(
        made, tmp_path / "silent.gguf", metadata={"llama.rope.freq_base": (None, Kind.FLOAT32)}
    )
    assert export_gguf(llama, silent, tmp_path / "x.gguf", "f16").is_file()  # 10000, as the model's
    edit(copy, rope_parameters={"rope_type": "default", "rope_theta": 5e5})
    with pytest.raises(ArenaError, match=r"rope.freq_base': 10000.0"):
        export_gguf(copy, silent, tmp_path / "y.gguf", "f16")
