"""Makes the tokenizer's fields of a GGUF file without a template, and refuses tokenizers that GGUF cannot represent.

The fields describe byte-level BPE as in GGUF's ``gpt2``: tokens, merges, and the name of the pre-tokenizer. Every part
of the tokenizer is checked, because each can change the tokens; unknown settings are refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from arena_learning.core import ArenaError, first_line
from arena_learning.engines.gguf.config import export_error
from arena_learning.engines.gguf.tokenizer import (
    CONTROL,
    DEFAULT_TEMPLATE,
    MERGELESS,
    NORMALISED,
    SPLITS,
    USER_DEFINED,
    pre_tokenizer,
)
from arena_learning.engines.tokenizer import load_tokenizer, template_text

NORMAL = 1  # of gguf.TokenType
_NAMES = {"bos": "bos", "eos": "eos", "padding": "pad", "unknown": "unk"}  # GGUF's names and transformers'


class Field(NamedTuple):
    """A value with its GGUF type, and the type of its items if it is a list."""

    value: Any
    kind: Any
    items: Any = None


def tokenizer_fields(folder: Path, width: int) -> dict[str, Field]:
    """Return the fields of the tokenizer in ``folder``, for an embedding of ``width`` rows.

    Raises:
        ArenaError: the tokenizer has a feature that GGUF's byte-level BPE lacks.
    """
    from gguf import GGUFValueType as Kind

    tokenizer = own_tokenizer(folder)
    state = tokenizer_state(tokenizer, folder)
    pre = _pre_name(state, folder)
    _check_model(state, pre, folder)
    _check_around(state, pre, folder)
    starts, ends = _added_around(state["post_processor"], tokenizer, folder)
    tokens, kinds = _tokens(state, width, folder)
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in state["model"]["merges"]]
    prefix = "tokenizer.ggml"
    fields = {
        f"{prefix}.model": Field("gpt2", Kind.STRING),
        f"{prefix}.pre": Field(pre, Kind.STRING),
        f"{prefix}.tokens": Field(tokens, Kind.ARRAY, Kind.STRING),
        f"{prefix}.token_type": Field(kinds, Kind.ARRAY, Kind.INT32),
        f"{prefix}.merges": Field(merges, Kind.ARRAY, Kind.STRING),
        f"{prefix}.add_bos_token": Field(starts, Kind.BOOL),
    }
    if ends:
        fields[f"{prefix}.add_eos_token"] = Field(True, Kind.BOOL)
    fields |= template_fields(tokenizer.chat_template, folder)
    ids = {name: getattr(tokenizer, f"{short}_token_id") for name, short in _NAMES.items()}
    return fields | {
        f"{prefix}.{name}_token_id": Field(ids[name], Kind.UINT32)
        for name in ("bos", "eos", "padding", "unknown")
        if ids[name] is not None
    }


def own_tokenizer(folder: Path) -> Any:
    """Return the tokenizer in ``folder``.

    Raises:
        ArenaError: transformers cannot load a tokenizer from it.
    """
    try:
        return load_tokenizer(folder)
    except (OSError, ValueError) as error:
        first = first_line(error)
        raise ArenaError(
            f"cannot load the tokenizer: {first}", where=str(folder), hint="save it beside the weights"
        ) from error


def tokenizer_state(tokenizer: Any, folder: Path) -> dict[str, Any]:
    """Return the parts of a fast tokenizer, as in tokenizer.json.

    Raises:
        ArenaError: the tokenizer is not a fast one.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise _unknown("without a tokenizer.json", folder)
    state: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    return state


def template_fields(template: str | dict[str, str] | None, folder: Path) -> dict[str, Field]:
    """Return the fields of one chat template, or of several by name.

    Raises:
        ArenaError: none of several templates is the default, or a name cannot be part of a key.
    """
    from gguf import GGUFValueType as Kind

    if not isinstance(template, dict):
        return {"tokenizer.chat_template": Field(str(template or ""), Kind.STRING)}
    default = template_text(template)
    if not default:
        raise ArenaError(
            f"none of the chat templates {', '.join(sorted(template))} is named '{DEFAULT_TEMPLATE}'",
            where=str(folder),
            hint=f"rename the template for conversations to '{DEFAULT_TEMPLATE}' in the tokenizer",
        )
    names = sorted(template.keys() - {DEFAULT_TEMPLATE}) if len(template) > 1 else []
    # llama.cpp's converter keeps only these characters in a name and changes others.
    if odd := [name for name in names if not (name.isascii() and name.replace("_", "").isalnum())]:
        raise ArenaError(
            f"chat templates named {', '.join(map(repr, odd))} cannot be written as GGUF",
            where=str(folder),
            hint="use only letters, digits and underscores in the names",
        )
    fields = {"tokenizer.chat_template": Field(default, Kind.STRING)}
    for name in names:
        fields[f"tokenizer.chat_template.{name}"] = Field(template[name], Kind.STRING)
    if names:
        fields["tokenizer.chat_templates"] = Field(names, Kind.ARRAY, Kind.STRING)
    return fields


def _unknown(what: str, folder: Path) -> ArenaError:
    return export_error(f"a tokenizer {what} cannot be written as GGUF here", folder)


def _pre_name(state: dict[str, Any], folder: Path) -> str:
    """Return GGUF's name of the tokenizer's pre-tokenizer."""
    kind = state["model"]["type"]
    if kind != "BPE":
        raise _unknown(f"of type {kind}", folder)
    for name in SPLITS:
        if _essence(json.loads(pre_tokenizer(name).__getstate__())) == _essence(state["pre_tokenizer"]):
            return name
    parts = ", ".join(_kinds(state["pre_tokenizer"])) or "nothing"
    raise _unknown(f"with an unknown pre-tokenizer ({parts})", folder)


def _essence(part: object) -> object:
    """Return a pre-tokenizer's settings without `trim_offsets`, which changes no token."""
    if isinstance(part, dict):
        return {key: _essence(value) for key, value in part.items() if key != "trim_offsets"}
    return [_essence(value) for value in part] if isinstance(part, list) else part


def _parts(part: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """Yield the steps of a normaliser, pre-tokenizer, post-processor or decoder, with sequences flattened."""
    if part is None:
        return
    if part["type"] == "Sequence":
        for key in ("normalizers", "pretokenizers", "processors", "decoders"):
            for inner in part.get(key, ()):
                yield from _parts(inner)
    else:
        yield part


def _kinds(part: dict[str, Any] | None) -> list[str]:
    return [step["type"] for step in _parts(part)]


def _check_model(state: dict[str, Any], pre: str, folder: Path) -> None:
    """Refuse options of BPE that GGUF lacks, if they can change a token."""
    from tokenizers import models, pre_tokenizers

    model = state["model"]
    for option in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        if model.get(option):
            raise _unknown(f"with {option}: {model[option]}", folder)
    # GGUF's readers skip bytes without a token, as this tokenizer does if it has no unknown token.
    missing = set(pre_tokenizers.ByteLevel.alphabet()) - model["vocab"].keys()
    if missing and model.get("unk_token"):
        raise _unknown(f"with {model['unk_token']!r} for {len(missing)} of the 256 bytes", folder)
    if bool(model.get("ignore_merges")) == (pre in MERGELESS):
        return
    # ignore_merges takes a piece that is a whole token without merging; no difference if merges reach every token.
    merges = [tuple(merge.split(" ") if isinstance(merge, str) else merge) for merge in model["merges"]]
    bpe = models.BPE(model["vocab"], merges)
    pieces = model["vocab"].keys() - {
        token["content"] for token in state["added_tokens"]
    }  # added tokens are split off before BPE
    if any(len(bpe.tokenize(piece)) > 1 for piece in pieces):
        raise _unknown(f"with ignore_merges: {bool(model.get('ignore_merges'))}, and cut as '{pre}',", folder)


def _check_around(state: dict[str, Any], pre: str, folder: Path) -> None:
    """Refuse normalisers, decoders and added tokens that GGUF's readers would treat differently."""
    normalizer = _kinds(state["normalizer"])
    if normalizer and not (normalizer == ["NFC"] and pre in NORMALISED):
        raise _unknown(f"with the normalizer {', '.join(normalizer)}, and cut as '{pre}',", folder)
    if _kinds(state["decoder"]) != ["ByteLevel"]:
        raise _unknown(f"with the decoder {', '.join(_kinds(state['decoder'])) or 'none'}", folder)
    for token in state["added_tokens"]:
        kinds = ["lstrip", "rstrip", "single_word"] + (["normalized"] if normalizer else [])
        if on := [kind for kind in kinds if token[kind]]:
            raise _unknown(f"whose added token {token['content']!r} has {', '.join(on)}", folder)


def _added_around(processor: dict[str, Any] | None, tokenizer: Any, folder: Path) -> tuple[bool, bool]:
    """Return whether the tokenizer adds the start token before a text, and the end token after it."""
    around: list[str] = []
    for step in _parts(processor):
        if step["type"] == "ByteLevel":
            continue
        if step["type"] != "TemplateProcessing" or around:
            raise _unknown(f"with the post_processor {', '.join(_kinds(processor))}", folder)
        around = [
            str(step["special_tokens"][piece["SpecialToken"]["id"]]["tokens"])
            if "SpecialToken" in piece
            else "text"
            for piece in step["single"]
        ]
    start, end = str([tokenizer.bos_token]), str([tokenizer.eos_token])
    known = {(): (False, False), ("text",): (False, False), (start, "text"): (True, False)}
    known |= {("text", end): (False, True), (start, "text", end): (True, True)}
    if tuple(around) not in known:
        raise _unknown(f"that adds {' '.join(around)}", folder)
    return known[tuple(around)]


def _tokens(state: dict[str, Any], width: int, folder: Path) -> tuple[list[str], list[int]]:
    """Return the tokens in order of ids, padded to the number of rows of the embedding, and their types."""
    vocabulary: dict[str, int] = dict(state["model"]["vocab"])
    special = {}
    for added in state["added_tokens"]:
        if vocabulary.setdefault(added["content"], added["id"]) != added["id"]:
            raise _unknown(f"that has {added['content']!r} twice", folder)
        special[added["id"]] = CONTROL if added["special"] else USER_DEFINED
    by_id = {index: token for token, index in vocabulary.items()}
    if beyond := [by_id[index] for index in sorted(by_id) if index >= width]:
        raise _unknown(
            f"with {len(beyond)} tokens more than the embedding's {width} rows (the first is {beyond[0]!r})",
            folder,
        )
    tokens = [by_id.get(index, f"[PAD{index}]") for index in range(width)]
    if len(set(tokens)) < width:
        raise _unknown("whose unused ids cannot be named [PAD...], because such a token exists", folder)
    return tokens, [special.get(index, NORMAL) for index in range(width)]
