"""Tokenizers that lose what they are given: refused by name; and Phi-3's out of a GGUF file, which is mended."""

from __future__ import annotations

import json

import gguf
import pytest
from family import chat_of, vocabulary
from pieces import PIECES

from arena_learning.core.errors import ArenaError
from arena_learning.engines.chat import Chat
from arena_learning.engines.chat_check import LAID_OUT, check_chat
from arena_learning.engines.gguf.tokenizer import load_gguf_tokenizer

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("kind", ["llama", "first", "gemma"])
def test_a_tokenizer_that_loses_spaces_is_named_and_not_the_template(kind):
    """A conversion may lose what makes a space of ``▁``."""
    family = next(family for family in PIECES if family.kind == kind)._replace(name=f"without spaces {kind}")
    chat = chat_of(family)
    told = json.loads(chat.tokenizer.backend_tokenizer.to_str())
    told["normalizer"] = told["pre_tokenizer"] = None
    told["model"] |= {"byte_fallback": False, "unk_token": None}
    config = chat.folder / "tokenizer.json"
    config.write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(ArenaError, match="tokenizer does not decode what it encodes: 'Green grass") as caught:
        check_chat(Chat(chat.folder))
    assert "chat_template" not in caught.value.hint


@pytest.mark.parametrize("architecture", ["llama", "phi3"])
def test_pieces_out_of_a_gguf_file_keep_spaces_and_letters(architecture, tmp_path):
    """transformers reads Phi-3's without what makes ``▁`` of a space, and without its bytes."""
    pieces = json.loads(vocabulary("llama"))["model"]["vocab"]
    special = ["<unk>", "<s>", "</s>"]
    tokens = [*special, *(word for word in sorted(pieces, key=pieces.get) if word not in special)]
    byte = [
        int(gguf.TokenType.BYTE if word.startswith("<0x") else gguf.TokenType.NORMAL) for word in tokens[3:]
    ]
    unknown, control = int(gguf.TokenType.UNKNOWN), int(gguf.TokenType.CONTROL)
    path = tmp_path / "pieces.gguf"
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(rank) for rank in range(len(tokens))])
    writer.add_token_types([unknown, control, control, *byte])
    for add, value in (
        (writer.add_unk_token_id, 0),
        (writer.add_bos_token_id, 1),
        (writer.add_eos_token_id, 2),
        (writer.add_pad_token_id, 2),
        (writer.add_context_length, 512),
        (writer.add_block_count, 1),
        (writer.add_embedding_length, 8),
        (writer.add_feed_forward_length, 8),
        (writer.add_head_count, 2),
        (writer.add_vocab_size, len(tokens)),
    ):
        add(value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    tokenizer = load_gguf_tokenizer(path)
    ids = tokenizer("The colour is blue.", add_special_tokens=False)["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids)[:3] == ["▁The", "▁colour", "▁is"]
    for text in (LAID_OUT, "Über 5 °C, 日本語, кот 🙂 done"):
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text
