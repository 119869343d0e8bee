"""The fast reader of GGUF files gives what the gguf library's own gives."""

from __future__ import annotations

import gguf
import numpy as np
import pytest

from arena_learning.engines.gguf import Reader, fast_gguf, load_gguf_tokenizer
from arena_learning.engines.gguf.export import export_gguf

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def file(tiny_model, tmp_path_factory):
    out = tmp_path_factory.mktemp("export") / "tiny.gguf"
    return export_gguf(tiny_model, None, out, "f16")


def test_fields_and_tensors_are_those_of_the_library(file):
    ours, theirs = Reader(str(file)), gguf.GGUFReader(str(file))
    assert list(ours.fields) == list(theirs.fields)
    assert len(ours.fields) > 10
    for key, field in theirs.fields.items():
        assert ours.fields[key].contents() == field.contents(), key
    assert len(ours.tensors) == len(theirs.tensors)
    for one, other in zip(ours.tensors, theirs.tensors, strict=True):
        assert (one.name, one.tensor_type, one.shape.tolist()) == (
            other.name,
            other.tensor_type,
            other.shape.tolist(),
        )
        assert np.array_equal(one.data, other.data)
    assert not isinstance(ours.data, np.memmap)  # which would be a new memmap for every token
    assert isinstance(ours.data.base, np.memmap)  # and the file is still not read into memory


def test_transformers_reads_the_same_weights_with_it_and_the_library_is_left_as_it_was(file, tiny_model):
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    def read():
        config = GgufConfig(dequantize=True)
        return AutoModelForCausalLM.from_pretrained(
            str(file.parent), gguf_file=file.name, quantization_config=config, dtype=torch.float32
        ).state_dict()

    own, names = gguf.GGUFReader, gguf.get_tensor_name_map
    theirs = read()
    with fast_gguf():
        assert gguf.GGUFReader is not own
        ours = read()
    assert (gguf.GGUFReader, gguf.get_tensor_name_map) == (own, names)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert load_gguf_tokenizer(file).get_vocab()


def test_after_an_error_the_library_is_left_as_it_was():
    own = gguf.GGUFReader
    with pytest.raises(FileNotFoundError), fast_gguf():
        gguf.GGUFReader("/nowhere/none.gguf")
    assert gguf.GGUFReader is own
