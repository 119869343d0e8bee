"""Loads the tokenizer of a GGUF file exactly.

Transformers' own conversion uses the GPT-2 pre-tokenizer for every Llama-architecture file, and takes the end token
from the wrong field. Then numbered lists are tokenized differently from the model's training (two line breaks before a
digit are two tokens instead of one), and the token that starts a turn counts as its end.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from arena_learning.core import ArenaError

if TYPE_CHECKING:
    from gguf import GGUFReader
    from tokenizers import Tokenizer
    from tokenizers.normalizers import Normalizer
    from tokenizers.pre_tokenizers import PreTokenizer
    from transformers import PreTrainedTokenizerFast

T = TypeVar("T", str, int, list[str], list[int])

CONTROL, USER_DEFINED = 3, 4  # of gguf.TokenType

_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# tokenizer.ggml.pre -> how text is split before BPE: "gpt2", "digits" (each digit alone, then gpt2) or a regex
SPLITS = {
    "gpt-2": "gpt2",
    "smollm": "digits",
    "starcoder": "digits",
    "refact": "digits",
    "command-r": "digits",
    "llama-bpe": _LLAMA3,
    "llama3": _LLAMA3,
    "qwen2": _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}"),
}


MERGELESS = {
    name for name, split in SPLITS.items() if split == _LLAMA3
}  # pre-tokenizers for which a piece that is a whole token is not merged
NORMALISED = {"qwen2"}  # trained on NFC text; GGUF has no field for that, so text is not normalised
DEFAULT_TEMPLATE = "default"  # transformers' name for the default one of several chat templates


def field(reader: GGUFReader, key: str, default: T) -> T:
    """Return the value of a GGUF field, or ``default`` (of the same type) if it is missing."""
    found = reader.get_field(key)
    value: T = default if found is None else found.contents()
    return value


def load_gguf_tokenizer(path: Path) -> PreTrainedTokenizerFast:
    """Return the tokenizer of the GGUF file at ``path``, with its chat template and special tokens.

    Raises:
        ArenaError: the tokenizer's pre-tokenizer is unknown.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    from arena_learning.engines.gguf.reader import Reader, fast_gguf

    reader = Reader(str(path))
    tokens: list[str] = field(reader, "tokenizer.ggml.tokens", [])
    named = {
        name: tokens[index]
        for name, key in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding"))
        if (index := field(reader, f"tokenizer.ggml.{key}_token_id", -1)) >= 0
    }
    architecture = field(reader, "general.architecture", "")
    named.setdefault("pad", named.get("eos", tokens[0]))
    settings: dict[str, Any] = {f"{name}_token": token for name, token in named.items()}
    settings |= {
        "chat_template": _chat_template(reader),
        "clean_up_tokenization_spaces": False,
        "model_max_length": field(reader, f"{architecture}.context_length", 0) or None,
    }
    if field(reader, "tokenizer.ggml.model", "") != "gpt2":
        # SentencePiece: transformers tokenizes correctly, except for Phi-3; the special tokens are always corrected.
        with fast_gguf():
            backend = AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name).backend_tokenizer
        if backend.normalizer is None:
            backend.normalizer = _pieces(reader)
            backend.model.byte_fallback = True  # otherwise text without a piece is dropped, even line breaks
        return PreTrainedTokenizerFast(tokenizer_object=backend, **settings)
    return PreTrainedTokenizerFast(tokenizer_object=_byte_level(reader, tokens, path), **settings)


def _chat_template(reader: GGUFReader) -> str | dict[str, str] | None:
    """Return the chat template, or several by name if the file has more than the default one."""
    default = field(reader, "tokenizer.chat_template", "")
    names: list[str] = field(reader, "tokenizer.chat_templates", [])
    if not names:
        return default or None
    templates = {DEFAULT_TEMPLATE: default} if default else {}
    return templates | {name: field(reader, f"tokenizer.chat_template.{name}", "") for name in names}


def _pieces(reader: GGUFReader) -> Normalizer:
    """Return the normaliser that replaces spaces by ``▁``; without it all spaces would be dropped."""
    from tokenizers import normalizers

    begin = [normalizers.Prepend("▁")] if field(reader, "tokenizer.ggml.add_space_prefix", True) else []
    return normalizers.Sequence([*begin, normalizers.Replace(" ", "▁")])


def _byte_level(reader: GGUFReader, tokens: list[str], path: Path) -> Tokenizer:
    """Return the `tokenizers.Tokenizer` of a byte-level BPE file."""
    from tokenizers import AddedToken, Tokenizer, decoders, models

    pre = field(reader, "tokenizer.ggml.pre", "gpt-2")
    if pre not in SPLITS:
        raise ArenaError(
            f"unknown pre-tokenizer '{pre}'; known: {', '.join(sorted(SPLITS))}",
            where=str(path),
            hint="use the model's safetensors folder as weights.source",
        )
    lines: list[str] = field(reader, "tokenizer.ggml.merges", [])
    merges = [(left, right) for left, _, right in (merge.partition(" ") for merge in lines)]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=pre in MERGELESS))
    tokenizer.pre_tokenizer = pre_tokenizer(pre)
    tokenizer.decoder = decoders.ByteLevel()
    kinds: list[int] = field(reader, "tokenizer.ggml.token_type", [])
    for token, kind in zip(tokens, kinds, strict=True):
        if kind in (CONTROL, USER_DEFINED):
            tokenizer.add_tokens([AddedToken(token, normalized=False, special=kind == CONTROL)])
    return tokenizer


def pre_tokenizer(pre: str) -> PreTokenizer:
    """Return the pre-tokenizer with this name in ``tokenizer.ggml.pre``."""
    from tokenizers import Regex, pre_tokenizers

    split = SPLITS[pre]
    if split == "gpt2":
        return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if split == "digits":
        gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), gpt2])
    pattern = pre_tokenizers.Split(Regex(split), behavior="isolated")
    whole = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([pattern, whole])
