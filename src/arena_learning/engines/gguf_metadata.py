"""The metadata of a GGUF file: copied from a template, or made from a model's configuration and tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from arena_learning.engines.gguf_tokenizer import CONTROL, SPLITS, USER_DEFINED, pre_tokenizer
from arena_learning.errors import ArenaError

NORMAL = 1  # of gguf.TokenType

# Rewritten by the export: the tensors' types are not the template's.
_OWN = {"general.file_type", "general.quantization_version"}


class Field(NamedTuple):
    """One value with its GGUF type, and the type of its items where it is a list."""

    value: Any
    kind: Any
    items: Any = None


def template_metadata(path: Path) -> dict[str, Field]:
    """Return all metadata of the GGUF file at ``path``.

    Raises:
        ArenaError: it is not a GGUF file.
    """
    from gguf import GGUFReader

    try:
        reader = GGUFReader(str(path))
    except (OSError, ValueError) as error:
        raise ArenaError(f"cannot read the template: {error}", where=str(path)) from None
    fields = {}
    for key, found in reader.fields.items():
        if key.startswith("GGUF.") or key in _OWN:
            continue
        fields[key] = Field(
            found.contents(), found.types[0], found.types[-1] if len(found.types) > 1 else None
        )
    return fields


def made_metadata(model_dir: Path, config: dict[str, Any], architecture: str) -> dict[str, Field]:
    """Return metadata made from a model's configuration and its byte-level BPE tokenizer.

    Raises:
        ArenaError: the tokenizer or the rotary embedding is of a kind that is not known here.
    """
    from gguf import GGUFValueType as Kind

    heads = config["num_attention_heads"]
    head_width = config.get("head_dim") or config["hidden_size"] // heads
    rope = config.get("rope_parameters") or {}
    if rope.get("rope_type", "default") != "default":
        raise _unknown(f"a rotary embedding of type {rope['rope_type']}", model_dir)
    numbers = {
        "block_count": config["num_hidden_layers"],
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "feed_forward_length": config["intermediate_size"],
        "attention.head_count": heads,
        "attention.head_count_kv": config.get("num_key_value_heads") or heads,
        "attention.key_length": head_width,
        "attention.value_length": head_width,
        "rope.dimension_count": head_width,
        "vocab_size": config["vocab_size"],
    }
    fields = {
        "general.architecture": Field(architecture, Kind.STRING),
        "general.name": Field(model_dir.name, Kind.STRING),
        f"{architecture}.rope.freq_base": Field(
            float(rope.get("rope_theta", config.get("rope_theta", 10000.0))), Kind.FLOAT32
        ),
        f"{architecture}.attention.layer_norm_rms_epsilon": Field(
            float(config["rms_norm_eps"]), Kind.FLOAT32
        ),
    }
    fields |= {f"{architecture}.{key}": Field(int(value), Kind.UINT32) for key, value in numbers.items()}
    return fields | _tokenizer_metadata(model_dir, config["vocab_size"])


def _tokenizer_metadata(model_dir: Path, width: int) -> dict[str, Field]:
    from gguf import GGUFValueType as Kind
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(model_dir))
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    pre = _pre_name(state)
    if state["model"]["type"] != "BPE" or pre is None:
        raise _unknown("a tokenizer of this kind", model_dir)
    tokens, kinds = _tokens(state, width)
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in state["model"]["merges"]]
    prefix = "tokenizer.ggml"
    fields = {
        f"{prefix}.model": Field("gpt2", Kind.STRING),
        f"{prefix}.pre": Field(pre, Kind.STRING),
        f"{prefix}.tokens": Field(tokens, Kind.ARRAY, Kind.STRING),
        f"{prefix}.token_type": Field(kinds, Kind.ARRAY, Kind.INT32),
        f"{prefix}.merges": Field(merges, Kind.ARRAY, Kind.STRING),
        f"{prefix}.add_bos_token": Field(False, Kind.BOOL),
        "tokenizer.chat_template": Field(str(tokenizer.chat_template or ""), Kind.STRING),
    }
    named = {"bos": tokenizer.bos_token_id, "eos": tokenizer.eos_token_id, "padding": tokenizer.pad_token_id}
    named["unknown"] = tokenizer.unk_token_id
    return fields | {
        f"{prefix}.{name}_token_id": Field(index, Kind.UINT32)
        for name, index in named.items()
        if index is not None
    }


def _tokens(state: dict[str, Any], width: int) -> tuple[list[str], list[int]]:
    """Return the tokens in order of ids, filled up to the width of the embedding, and their kinds."""
    vocabulary: dict[str, int] = dict(state["model"]["vocab"])
    special = {}
    for added in state["added_tokens"]:
        vocabulary[added["content"]] = added["id"]
        special[added["id"]] = CONTROL if added["special"] else USER_DEFINED
    by_id = {index: token for token, index in vocabulary.items()}
    tokens = [by_id.get(index, f"[PAD{index}]") for index in range(width)]
    return tokens, [special.get(index, NORMAL) for index in range(width)]


def _pre_name(state: dict[str, Any]) -> str | None:
    """Return GGUF's name for the way the tokenizer cuts text, or None."""
    for name in SPLITS:
        if _essence(json.loads(pre_tokenizer(name).__getstate__())) == _essence(state["pre_tokenizer"]):
            return name
    return None


def _essence(part: object) -> object:
    """Return a pre-tokenizer's settings without `trim_offsets`, which changes no token."""
    if isinstance(part, dict):
        return {key: _essence(value) for key, value in part.items() if key != "trim_offsets"}
    return [_essence(value) for value in part] if isinstance(part, list) else part


def _unknown(what: str, model_dir: Path) -> ArenaError:
    return ArenaError(
        f"{what} cannot be written as GGUF here",
        where=str(model_dir),
        mend="set serving.engine: transformers",
    )
