"""What a tokenizer does is in the export, or the export is refused; chat templates are written by name."""

from __future__ import annotations

import json
import shutil

import pytest
from export_models import build

from arena_learning.core.errors import ArenaError
from arena_learning.engines.gguf.export import export_gguf
from arena_learning.engines.gguf.tokenizer import load_gguf_tokenizer
from arena_learning.engines.gguf.vocabulary import own_tokenizer, template_fields

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return build(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture
def copy(llama, tmp_path):
    return shutil.copytree(llama, tmp_path / "model")


def change(folder, **parts):
    """Change parts of tokenizer.json; a part of `model` is named `model.PART`."""
    path = folder / "tokenizer.json"
    state = json.loads(path.read_text())
    for key, value in parts.items():
        section, _, name = key.partition("__")
        if name:
            state[section][name] = value
        else:
            state[section] = value
    path.write_text(json.dumps(state))
    return folder


def refusal(folder, tmp_path):
    with pytest.raises(ArenaError) as caught:
        export_gguf(folder, None, tmp_path / "refused.gguf", "f16")
    assert not (tmp_path / "refused.gguf").exists()
    assert "serving.engine: transformers" in caught.value.hint
    return caught.value.what


NFKC = {"type": "NFKC"}
LOWER = {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]}
PREFIXED = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
BERT = {"type": "BertProcessing", "sep": ["<|im_end|>", 2], "cls": ["<|im_start|>", 1]}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"normalizer": NFKC}, "normalizer NFKC"),
        ({"normalizer": {"type": "NFC"}}, "normalizer NFC, and cut as 'gpt-2'"),
        ({"normalizer": LOWER}, "normalizer NFC, Lowercase"),
        ({"pre_tokenizer": PREFIXED}, "unknown pre-tokenizer (ByteLevel"),
        ({"pre_tokenizer": METASPACE}, "unknown pre-tokenizer (Metaspace"),
        ({"pre_tokenizer": None}, "unknown pre-tokenizer (nothing"),
        ({"post_processor": BERT}, "post_processor BertProcessing"),
        ({"decoder": {"type": "ByteFallback"}}, "decoder ByteFallback"),
        ({"decoder": None}, "decoder none"),
        ({"model__dropout": 0.1}, "dropout: 0.1"),
        ({"model__end_of_word_suffix": "</w>"}, "end_of_word_suffix: </w>"),
        ({"model__continuing_subword_prefix": "##", "model__merges": []}, "continuing_subword_prefix: ##"),
        ({"model__byte_fallback": True}, "byte_fallback: True"),
    ],
)
def test_a_step_that_gguf_has_not_is_refused(copy, tmp_path, parts, message):
    assert message in refusal(change(copy, **parts), tmp_path)


@pytest.mark.parametrize("flag", ["lstrip", "rstrip", "single_word"])
def test_an_added_token_that_takes_what_stands_beside_it_is_refused(copy, tmp_path, flag):
    tokens = json.loads((copy / "tokenizer.json").read_text())["added_tokens"]
    tokens[1][flag] = True
    (copy / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>"})
    )
    assert f"'<|im_start|>' has {flag}" in refusal(change(copy, added_tokens=tokens), tmp_path)


@pytest.mark.parametrize("kind", ["Unigram", "WordPiece", "WordLevel"])
def test_another_model_than_bpe_is_refused(copy, tmp_path, kind):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {"<unk>": 0, "a": 1, "b": 2}
    model = {
        "Unigram": lambda: models.Unigram([(word, -1.0) for word in words], 0, False),
        "WordPiece": lambda: models.WordPiece(words, unk_token="<unk>"),
        "WordLevel": lambda: models.WordLevel(words, unk_token="<unk>"),
    }[kind]()
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>").save_pretrained(copy)
    assert f"a tokenizer of type {kind}" in refusal(copy, tmp_path)


def test_merges_that_are_passed_over_are_written_only_where_that_changes_nothing(copy, tmp_path):
    change(copy, model__ignore_merges=True)
    assert export_gguf(copy, None, tmp_path / "x.gguf", "f16").is_file()  # merges lead to every token here
    state = json.loads((copy / "tokenizer.json").read_text())["model"]
    longest = max((token for token in state["vocab"] if not token.startswith("<|")), key=len)
    merges = [merge for merge in state["merges"] if "".join(merge) != longest]
    change(copy, model__merges=merges)
    assert "ignore_merges: True" in refusal(copy, tmp_path)


def test_bytes_without_a_token_are_written_only_where_nothing_stands_for_them(copy, tmp_path):
    vocabulary = json.loads((copy / "tokenizer.json").read_text())["model"]["vocab"]
    byte = vocabulary.pop("ÿ")  # U+00FF stands for a byte that UTF-8 never has
    vocabulary["ÿÿ"] = byte
    change(copy, model__vocab=vocabulary)
    assert export_gguf(copy, None, tmp_path / "x.gguf", "f16").is_file()
    change(copy, model__unk_token="<|endoftext|>")
    assert "'<|endoftext|>' for 1 of the 256 bytes" in refusal(copy, tmp_path)


def test_a_vocabulary_longer_than_the_embedding_is_refused(copy, tmp_path):
    tokenizer = own_tokenizer(copy)
    size = len(tokenizer)
    tokenizer.add_tokens(["<one more>"])
    tokenizer.save_pretrained(copy)
    assert f"1 tokens more than the embedding's {size} rows (the first is '<one more>'" in refusal(
        copy, tmp_path
    )


def test_a_vocabulary_padded_in_the_embedding_is_written(tmp_path):
    from gguf import GGUFReader

    from tiny import build_tiny_tokenizer

    tokenizer = build_tiny_tokenizer()
    folder = build(tmp_path / "m", tokenizer=tokenizer, vocab_size=len(tokenizer) + 24)
    out = export_gguf(folder, None, tmp_path / "x.gguf", "f16")
    tokens = GGUFReader(str(out)).get_field("tokenizer.ggml.tokens").contents()
    assert len(tokens) == len(tokenizer) + 24
    assert tokens[-1] == f"[PAD{len(tokenizer) + 23}]"


def test_nfc_goes_with_the_cut_that_is_made_for_it(copy, tmp_path):
    from arena_learning.engines.gguf.tokenizer import pre_tokenizer

    cut = json.loads(pre_tokenizer("qwen2").__getstate__())
    change(copy, pre_tokenizer=cut, normalizer={"type": "NFC"})
    back = load_gguf_tokenizer(export_gguf(copy, None, tmp_path / "x.gguf", "f16"))
    text = "Größe 123 don't\n\n x"
    assert back.encode(text) == own_tokenizer(copy).encode(text)


@pytest.mark.parametrize("ends", [(True, False), (False, True), (True, True)])
def test_what_is_put_around_a_text_is_said(copy, tmp_path, ends):
    from gguf import GGUFReader

    def piece(name):
        return {"SpecialToken": {"id": name, "type_id": 0}}

    text = {"Sequence": {"id": "A", "type_id": 0}}
    start, end = ends
    single = [*([piece("<|im_start|>")] * start), text, *([piece("<|im_end|>")] * end)]
    tokens = {
        name: {"id": name, "ids": [number], "tokens": [name]}
        for name, number in (("<|im_start|>", 1), ("<|im_end|>", 2))
    }
    processor = {"type": "TemplateProcessing", "single": single, "pair": [text], "special_tokens": tokens}
    byte_level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}
    change(copy, post_processor={"type": "Sequence", "processors": [byte_level, processor]})
    reader = GGUFReader(str(export_gguf(copy, None, tmp_path / "x.gguf", "f16")))
    assert reader.get_field("tokenizer.ggml.add_bos_token").contents() is start
    said = reader.get_field("tokenizer.ggml.add_eos_token")
    assert (said is not None and said.contents()) is end
    twice = {**processor, "single": [piece("<|im_end|>"), piece("<|im_end|>"), text]}
    assert "adds ['<|im_end|>'] ['<|im_end|>']" in refusal(change(copy, post_processor=twice), tmp_path)


TEMPLATES = {"default": "{{ messages }}", "tool_use": "{{ tools }}", "rag": "{{ documents }}"}


@pytest.mark.parametrize("way", ["list", "dict", "files"])
@pytest.mark.parametrize("templated", [False, True])
def test_named_chat_templates_come_back(llama, copy, tmp_path, way, templated):
    from gguf import GGUFReader

    (copy / "chat_template.jinja").unlink()
    config = json.loads((copy / "tokenizer_config.json").read_text())
    if way == "list":
        config["chat_template"] = [{"name": name, "template": text} for name, text in TEMPLATES.items()]
    elif way == "dict":
        config["chat_template"] = TEMPLATES
    else:
        (copy / "chat_template.jinja").write_text(TEMPLATES["default"])
        (copy / "additional_chat_templates").mkdir()
        for name in ("tool_use", "rag"):
            (copy / "additional_chat_templates" / f"{name}.jinja").write_text(TEMPLATES[name])
    (copy / "tokenizer_config.json").write_text(json.dumps(config))
    template = export_gguf(llama, None, tmp_path / "t.gguf", "f16") if templated else None
    out = export_gguf(copy, template, tmp_path / "x.gguf", "f16")
    fields = {
        key: field.contents() for key, field in GGUFReader(str(out)).fields.items() if "chat_template" in key
    }
    assert fields == {
        "tokenizer.chat_template": "{{ messages }}",
        "tokenizer.chat_template.tool_use": "{{ tools }}",
        "tokenizer.chat_template.rag": "{{ documents }}",
        "tokenizer.chat_templates": ["rag", "tool_use"],
    }
    assert load_gguf_tokenizer(out).chat_template == TEMPLATES
    # A model trained from it, whose tokenizer has one template again, takes no name over.
    alone = export_gguf(llama, out, tmp_path / "y.gguf", "f16")
    assert load_gguf_tokenizer(alone).chat_template == own_tokenizer(llama).chat_template


def test_one_named_template_is_the_default(tmp_path):
    assert {key: field.value for key, field in template_fields({"chat": "x"}, tmp_path).items()} == {
        "tokenizer.chat_template": "x"
    }


def test_templates_without_a_default_or_with_odd_names_are_refused(tmp_path):
    with pytest.raises(ArenaError, match="is named 'default'"):
        template_fields({"tool_use": "x", "rag": "y"}, tmp_path)
    with pytest.raises(ArenaError, match="'tool use'"):
        template_fields({"default": "x", "tool use": "y"}, tmp_path)


def test_a_folder_without_a_tokenizer_is_an_error_that_says_so(copy, tmp_path):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (copy / name).unlink()
    with pytest.raises(ArenaError, match="cannot load the tokenizer") as caught:
        export_gguf(copy, None, tmp_path / "x.gguf", "f16")
    assert caught.value.where == str(copy)
