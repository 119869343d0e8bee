"""A whole export is compared with the model once, and every later one is checked."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from export_models import build, edit

from arena_learning.core.errors import ArenaError
from arena_learning.engines.gguf import cache as memory
from arena_learning.engines.gguf import check as gguf_check
from arena_learning.engines.gguf import compare as gguf_compare
from arena_learning.engines.gguf import config as gguf_config
from arena_learning.engines.gguf.cache import cached_export, compared_once, export_folder
from arena_learning.engines.gguf.compare import ALLOWED, compare
from arena_learning.engines.gguf.config import read_computation
from arena_learning.engines.gguf.export import export_gguf
from arena_learning.engines.gguf.tensors import Tensors

pytest.importorskip("openvino_genai", reason="needs the extra 'laptop'")
pytestmark = pytest.mark.torch

RIGHT = [
    ("llama", {}),
    ("llama", {"tie_word_embeddings": True}),
    ("llama", {"mlp_bias": True}),
    ("llama", {"head_dim": 32}),
    ("llama", {"num_key_value_heads": 4}),
    ("llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}, "rms_norm_eps": 1e-2}),
    ("llama", {"hidden_size": 48}),  # rows of 48 stay F16 in Q8_0
    ("mistral", {"head_dim": 32}),
    ("qwen2", {}),
    ("qwen3", {"head_dim": 32}),
    ("qwen3", {"attention_bias": True, "tie_word_embeddings": True}),
]


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return build(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    """Each test starts in a process that has compared nothing."""
    monkeypatch.setattr(memory, "_compared", {})


@pytest.fixture
def comparisons(monkeypatch):
    """The folders that were compared."""
    done = []

    def counted(folder, *rest):
        done.append(folder.name)
        return compare(folder, *rest)

    monkeypatch.setattr(gguf_compare, "compare", counted)
    return done


@pytest.mark.parametrize(("kind", "settings"), RIGHT, ids=[f"{k}-{'-'.join(s) or 'plain'}" for k, s in RIGHT])
def test_what_is_exported_computes_what_transformers_does(tmp_path, capsys, kind, settings):
    folder = build(tmp_path / "m", kind, **settings)
    capsys.readouterr()  # what building it said
    agreement = compare(folder, None, read_computation(folder))
    assert agreement.difference < ALLOWED / 4  # F16 rounds to 2^-11: some thousandths after two layers
    assert agreement.regret < ALLOWED
    assert agreement.tokens > 300
    (line,) = capsys.readouterr().err.splitlines()
    assert "m: the GGUF export agrees with transformers" in line
    q8_0 = export_gguf(folder, None, tmp_path / "m.gguf", "q8_0")
    served = gguf_compare._served(q8_0, [[5, 9, 13, 200, 17, 4, 7]], folder)
    model = gguf_compare._computed(folder, [[5, 9, 13, 200, 17, 4, 7]], 2)
    # Rows of 64 and 128 are whole blocks of Q8_0, a step is a 127th of a block's largest; reading it has its own code.
    assert np.abs(served.logs[0] - model.logs[0]).mean() < 0.1 * model.logs[0].std()


@pytest.mark.parametrize(
    "settings",
    [
        {"hidden_act": "gelu"},
        {"attention_bias": True},
        {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}},
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 1e4,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            }
        },
        {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}},
    ],
    ids=["gelu", "bias", "linear", "llama3", "yarn"],
)
def test_the_comparison_finds_what_the_configuration_check_would_have_let_through(
    tmp_path, monkeypatch, settings
):
    folder = build(tmp_path / "m", **settings)
    for check in ("_check_values", "_check_rope_kind"):
        monkeypatch.setattr(gguf_config, check, lambda *given: None)
    scaling = {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}

    def base(config, folder):
        assert set(config.rope_parameters) <= {"rope_type", "rope_theta", *scaling}
        return 1e4

    monkeypatch.setattr(gguf_config, "_rope_base", base)
    with pytest.raises(ArenaError, match="OpenVINO does not compute from the GGUF export") as caught:
        compare(folder, None, read_computation(folder))
    assert "serving.engine: transformers" in caught.value.hint


def test_a_window_is_found_by_the_comparison_too(tmp_path, monkeypatch):
    folder = build(tmp_path / "m", "mistral", sliding_window=32)
    monkeypatch.setattr(gguf_config, "_check_values", lambda *given: None)
    with pytest.raises(ArenaError, match="OpenVINO does not compute"):
        compare(folder, None, read_computation(folder))


def test_of_a_large_model_the_first_blocks_are_compared(tmp_path, monkeypatch, capsys):
    folder = build(tmp_path / "m", num_hidden_layers=4)
    monkeypatch.setattr(gguf_compare, "_LARGEST", 1)
    assert compare(folder, None, read_computation(folder)).layers == 2
    assert "of its first 2 blocks" in capsys.readouterr().err


def test_a_template_with_another_tokenizer_is_found(llama, tmp_path):
    from tiny import build_tiny_tokenizer

    other = build_tiny_tokenizer()
    state = json.loads(other.backend_tokenizer.to_str())
    state["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Digits", "individual_digits": True},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        ],
    }
    state["model"]["merges"] = state["model"]["merges"][:40]
    folder = build(tmp_path / "other", tokenizer=other)
    (folder / "tokenizer.json").write_text(json.dumps(state))
    template = export_gguf(folder, None, tmp_path / "t.gguf", "f16")
    with pytest.raises(ArenaError, match="tokenizes differently from the model's tokenizer"):
        compare(llama, template, read_computation(llama))


def trained(folder, copy):
    """Copy a model with other weights, as a round's training leaves it."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, copy)
    weights = load_file(copy / "model.safetensors")
    save_file(
        {key: tensor * 1.01 for key, tensor in weights.items()}, copy / "model.safetensors", {"format": "pt"}
    )
    state = json.loads((copy / "tokenizer.json").read_text())
    state["truncation"] = {"direction": "Right", "max_length": 512, "strategy": "LongestFirst", "stride": 0}
    (copy / "tokenizer.json").write_text(json.dumps(state))
    return edit(copy, use_cache=False, dtype="bfloat16", pad_token_id=0)


def test_a_configuration_is_compared_once(llama, tmp_path, comparisons, monkeypatch, capsys):
    exports = tmp_path / "exports"
    first = cached_export(llama, None, exports, "q8_0")
    assert len(capsys.readouterr().err.splitlines()) == 1
    monkeypatch.setattr(memory, "_compared", {})  # another process
    assert cached_export(llama, None, exports, "q8_0") == first
    assert cached_export(llama, None, exports, "f16") != first
    cached_export(trained(llama, tmp_path / "sft-i1"), None, exports, "q8_0")
    assert comparisons == ["llama"]
    assert capsys.readouterr().err == ""
    other = edit(shutil.copytree(llama, tmp_path / "other"), rms_norm_eps=1e-3)
    cached_export(other, None, exports, "q8_0")
    assert comparisons == ["llama", "other"]


def test_a_process_compares_once_for_all_its_folders_of_exports(llama, tmp_path, comparisons):
    for name in ("one", "two"):
        cached_export(llama, None, tmp_path / name, "q8_0")
        assert list((tmp_path / name).glob("compared-*.json"))
    assert comparisons == ["llama"]


def test_an_export_without_a_note_is_made_again(llama, tmp_path, comparisons):
    exports = tmp_path / "exports"
    path = cached_export(llama, None, exports, "q8_0")
    right = path.read_bytes()
    path.with_suffix(".checked").unlink()
    path.write_bytes(b"of an earlier version")
    assert cached_export(llama, None, exports, "q8_0").read_bytes() == right
    assert comparisons == ["llama"]


def test_a_failed_comparison_leaves_neither_export_nor_note(llama, tmp_path, monkeypatch):
    monkeypatch.setattr(gguf_compare, "ALLOWED", 0.0)
    exports = tmp_path / "exports"
    for _ in range(2):
        with pytest.raises(
            ArenaError, match=r"log-probabilities differ by 0\.\d% of their standard deviation"
        ):
            cached_export(llama, None, exports, "q8_0")
        assert {path.suffix for path in exports.iterdir()} == {".lock"}


def test_what_openvino_cannot_load_names_the_other_engine(llama, tmp_path):
    (tmp_path / "x.gguf").write_bytes(b"GGUF but not really")
    with pytest.raises(ArenaError, match="OpenVINO cannot read the GGUF export") as caught:
        gguf_compare._served(tmp_path / "x.gguf", [[1, 2]], llama)
    assert "serving.engine: transformers" in caught.value.hint


@pytest.mark.parametrize("dtype", ["f16", "q8_0"])
def test_a_written_file_is_checked_by_shapes_and_samples(llama, tmp_path, dtype):
    path = export_gguf(llama, None, tmp_path / "x.gguf", dtype)
    tensors = Tensors(llama, read_computation(llama))
    gguf_check.check_written(path, tensors)
    with pytest.raises(ArenaError, match=r"token_embd\.weight does not contain the model's numbers"):
        gguf_check.check_written(path, Tensors(trained(llama, tmp_path / "other"), tensors.computation))
    with pytest.raises(ArenaError, match=r"9 tensors do not match .* blk\.1\.attn_k\.weight is \(32, 64\)"):
        gguf_check.check_written(path, Tensors(llama, tensors.computation.first(1)))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ArenaError, match="cannot be read back"):
        gguf_check.check_written(path, tensors)


def test_rows_that_were_not_reordered_are_found(llama, tmp_path, monkeypatch):
    from arena_learning.engines.gguf import tensors as gguf_tensors

    monkeypatch.setattr(gguf_tensors, "_permute", lambda tensor, heads: tensor)
    with pytest.raises(ArenaError, match=r"attn_q\.weight does not contain"):
        export_gguf(llama, None, tmp_path / "x.gguf", "f16")
    assert not (tmp_path / "x.gguf").exists()


@pytest.mark.parametrize(
    ("value", "message"),
    [(float("nan"), "NaN"), (float("inf"), "infinite"), (1e6, "1e.06, which is too large")],
)
def test_numbers_that_the_type_cannot_hold_are_refused(llama, tmp_path, value, message):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(llama, tmp_path / "m")
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.down_proj.weight"][3, 5] = value
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ArenaError, match=rf"blk\.1\.ffn_down\.weight contains .*{message}"):
        export_gguf(folder, None, tmp_path / "x.gguf", "f16")


def test_a_tensor_that_is_missing_or_too_many_is_refused(llama, tmp_path):
    from safetensors.torch import load_file, save_file

    weights = load_file(llama / "model.safetensors")
    folder = shutil.copytree(llama, tmp_path / "m")
    # Old versions of transformers wrote these; they are computed from the base.
    rotary = {"model.layers.0.self_attn.rotary_emb.inv_freq": weights["model.norm.weight"][:8].clone()}
    save_file(weights | rotary, folder / "model.safetensors", {"format": "pt"})
    same = export_gguf(llama, None, tmp_path / "a" / "x.gguf", "f16").read_bytes()
    edit(folder)
    named = shutil.copytree(folder, tmp_path / "b" / "llama")
    assert export_gguf(named, None, tmp_path / "y.gguf", "f16").read_bytes() == same
    without = {key: tensor for key, tensor in weights.items() if key != "lm_head.weight"}
    save_file(without, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ArenaError, match=r"output\.weight is missing"):
        export_gguf(folder, None, tmp_path / "z.gguf", "f16")
    more = {"model.layers.0.self_attn.sinks": weights["model.norm.weight"].clone()}
    save_file(weights | more, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ArenaError, match="sinks"):
        export_gguf(folder, None, tmp_path / "z.gguf", "f16")


def test_a_project_remembers_the_comparison_of_an_export_by_hand(llama, tmp_path, comparisons, make_params):
    import yaml

    models = tmp_path / "models"
    shutil.copytree(llama, models / "base")
    params = make_params(weights={"source": str(llama)})
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    for name in ("a.gguf", "b.gguf"):
        memory._compared.clear()
        assert export_folder(models / "base", tmp_path / name, "f16")
    assert comparisons == ["base"]


def test_without_openvino_an_export_by_hand_is_written_and_says_so(llama, tmp_path, comparisons, monkeypatch):
    from click.testing import CliRunner

    from arena_learning.cli.export_gguf import command

    monkeypatch.setattr(memory, "find_spec", lambda name: None)
    result = CliRunner().invoke(command, [str(llama), str(tmp_path / "x.gguf")])
    assert result.exit_code == 0, result.output
    assert "not compared with the model: OpenVINO GenAI is not installed" in result.stderr
    assert comparisons == []


def converter(path, body):
    path.write_text(
        f"import sys\nfolder, out = sys.argv[1], sys.argv[sys.argv.index('--outfile') + 1]\n{body}\n"
    )
    return str(path)


def test_llama_cpps_converter_writes_what_is_refused_here(llama, tmp_path, monkeypatch):
    from click.testing import CliRunner

    from arena_learning.cli.export_gguf import command

    scaled = edit(shutil.copytree(llama, tmp_path / "m"), rope_scaling={"type": "linear", "factor": 2.0})
    out = tmp_path / "x.gguf"
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    refused = CliRunner().invoke(command, [str(scaled), str(out)])
    assert "which is not on PATH" in refused.exception.hint
    program = tmp_path / "bin" / "convert_hf_to_gguf.py"
    converter(program, "open(out, 'wb').write(b'GGUF of ' + folder.encode() + sys.argv[-1].encode())")
    program.chmod(0o755)
    refused = CliRunner().invoke(command, [str(scaled), str(out)])
    assert refused.exception.hint.endswith(f"--converter {program}")
    assert not out.exists()
    program.write_text(f"#!/usr/bin/env python3\n{program.read_text()}")  # the PATH of this test has none
    result = CliRunner().invoke(command, [str(scaled), str(out), "--converter", "convert_hf_to_gguf.py"])
    assert result.exit_code == 0, result.output
    assert "llama.cpp's converter wrote it" in result.stderr
    assert out.read_bytes() == f"GGUF of {scaled}q8_0".encode()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("sys.exit('Model X is not supported')", r"exit status 1\): Model X is not supported"),
        ("print('done')", "done"),
        ("pass", "it wrote no GGUF file"),
    ],
)
def test_a_converter_that_fails_is_an_error_that_says_why(llama, tmp_path, body, message):
    from arena_learning.engines.gguf.converter import convert

    with pytest.raises(ArenaError, match=message):
        convert(converter(tmp_path / "c.py", body), llama, tmp_path / "x.gguf", "f16")
    assert not (tmp_path / "x.gguf").exists()
    with pytest.raises(ArenaError, match="no such program: nothing"):
        convert("nothing", llama, tmp_path / "x.gguf", "f16")


def test_a_note_that_is_no_longer_about_this_reader_counts_no_more(llama, tmp_path, comparisons, monkeypatch):
    compared_once(llama, None, tmp_path)
    memory._compared.clear()
    monkeypatch.setattr(memory.metadata, "version", lambda name: "2099.1")
    compared_once(llama, None, tmp_path)
    assert comparisons == ["llama", "llama"]
