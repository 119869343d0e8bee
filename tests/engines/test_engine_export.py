"""GGUF exports, on the tiny model: what is read back computes the same."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from arena_learning.core.errors import ArenaError
from arena_learning.engines.chat import Chat
from arena_learning.engines.gguf.cache import cached_export, export_folder
from arena_learning.engines.gguf.export import export_gguf
from arena_learning.engines.gguf.tokenizer import load_gguf_tokenizer
from arena_learning.testing.engine_suite import MULTI_TURN, PLAIN, SYSTEM

pytestmark = pytest.mark.torch


def logits(model, prompts):
    """Return the logits of the last position of each prompt."""
    import torch

    with torch.inference_mode():
        return np.stack([model(torch.tensor([prompt])).logits[0, -1].numpy() for prompt in prompts])


def load(folder, gguf=None):
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    if gguf is None:
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config = GgufConfig(dequantize=True)
    return AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float32, quantization_config=config
    )


@pytest.fixture(scope="module")
def f16(tiny_model, tmp_path_factory):
    return export_gguf(tiny_model, None, tmp_path_factory.mktemp("exports") / "tiny.gguf", "f16")


# Weights of about 0.02 are rounded by 2^-12 of themselves in F16, by 1/254 of a block's largest in Q8_0;
# through two layers the logits (about 0.1 large) move by some 1e-4 and 1e-3.
@pytest.mark.parametrize(("dtype", "close"), [("f16", 3e-4), ("q8_0", 1e-2)])
@pytest.mark.parametrize("templated", [False, True])
def test_logits_match_to_the_precision_of_the_type(tiny_model, tmp_path, f16, dtype, close, templated):
    out = export_gguf(tiny_model, f16 if templated else None, tmp_path / "out.gguf", dtype)
    prompts = Chat(tiny_model).encode([PLAIN[0], SYSTEM, MULTI_TURN])
    mine, original = logits(load(None, out), prompts), logits(load(tiny_model), prompts)
    assert np.abs(mine - original).max() < close
    assert (mine.argmax(-1) == original.argmax(-1)).all()
    # The bound would notice tensors that were not permuted or in the wrong place.
    assert np.abs(original[0] - original[1]).max() > 2 * close


def test_untied_embeddings_are_written(tiny_model, tmp_path):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = shutil.copytree(tiny_model, tmp_path / "untied")
    config = LlamaConfig(**{**json.loads((folder / "config.json").read_text()), "tie_word_embeddings": False})
    torch.manual_seed(1)
    LlamaForCausalLM(config).save_pretrained(folder)
    out = export_gguf(folder, None, tmp_path / "untied.gguf", "f16")
    prompts = Chat(folder).encode(PLAIN[:2])
    np.testing.assert_allclose(logits(load(None, out), prompts), logits(load(folder), prompts), atol=3e-4)


def test_the_tokenizer_comes_back(tiny_model, f16):
    own, back = Chat(tiny_model).tokenizer, load_gguf_tokenizer(f16)
    text = "Don't  list\n\n12. 🙂 שלום <|im_end|> x"
    assert back.encode(text) == own.encode(text)
    assert back.chat_template == own.chat_template
    names = ("bos_token", "eos_token", "pad_token", "unk_token")
    assert [getattr(back, name) for name in names] == [getattr(own, name) for name in names]


def test_an_export_is_made_once_for_each_content_and_type(tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    exports = tmp_path / "exports"
    first = cached_export(folder, None, exports, "q8_0")
    written = first.stat().st_mtime_ns
    assert cached_export(shutil.copytree(folder, tmp_path / "copy"), None, exports, "q8_0") == first
    assert first.stat().st_mtime_ns == written
    assert cached_export(folder, None, exports, "f16") != first
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert cached_export(folder, None, exports, "q8_0") != first


def test_a_failed_export_leaves_nothing_behind(tiny_model, tmp_path, monkeypatch):
    import gguf

    def full(self):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gguf.GGUFWriter, "write_tensors_to_file", full)
    with pytest.raises(ArenaError, match="the disk is full"):
        export_gguf(tiny_model, None, tmp_path / "out" / "x.gguf", "f16")
    assert list((tmp_path / "out").iterdir()) == []


def test_another_models_template_is_refused(tiny_model, tmp_path, f16):
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(ArenaError, match=r"the template is another model's: .*block_count': 2"):
        export_gguf(folder, f16, tmp_path / "x.gguf", "f16")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architectures": ["MambaForCausalLM"]}, "MambaForCausalLM cannot be exported"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "rotary embedding of type yarn"),
    ],
)
def test_what_cannot_be_exported_says_which_engine_can(tiny_model, tmp_path, change, message):
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(ArenaError, match=message) as caught:
        export_gguf(folder, None, tmp_path / "x.gguf", "f16")
    assert "transformers" in caught.value.hint


def test_a_file_that_is_no_gguf_is_no_template(tiny_model, tmp_path):
    (tmp_path / "not.gguf").write_text("hello " * 100)
    with pytest.raises(ArenaError, match="cannot read the template"):
        export_folder(tiny_model, tmp_path / "x.gguf", "f16", str(tmp_path / "not.gguf"))


def test_the_command_writes_the_file(tiny_model, tmp_path):
    from click.testing import CliRunner

    from arena_learning.cli.export_gguf import command

    out = tmp_path / "tiny.gguf"
    result = CliRunner().invoke(command, [str(tiny_model), str(out), "--dtype", "f16"])
    assert result.exit_code == 0, result.output
    assert out.is_file()
