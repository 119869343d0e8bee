"""The metadata of a GGUF file, copied from a template or made from a model's configuration and tokenizer."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from arena_learning.core import ArenaError
from arena_learning.engines.gguf.config import Computation, export_error
from arena_learning.engines.gguf.vocabulary import Field, own_tokenizer, template_fields, tokenizer_fields

if TYPE_CHECKING:
    from gguf import GGUFReader

# Written by the export, because the types of its tensors differ from the template's.
_OWN = {"general.file_type", "general.quantization_version"}
# Keys of an architecture that change no answer: with any value (None), or with the given values only.
_HARMLESS: dict[str, tuple[object, ...] | None] = {
    "context_length": None,
    "tensor_data_layout": None,
    "rope.scaling.finetuned": None,
    "rope.scaling.type": ("none",),
    "rope.scaling.factor": (0.0, 1.0),
    "expert_count": (0,),
    "expert_used_count": (0,),
}
_FLOATS = {"rope.freq_base", "attention.layer_norm_rms_epsilon"}


def template_metadata(path: Path) -> dict[str, Field]:
    """Return all metadata of the GGUF file at ``path``.

    Raises:
        ArenaError: it is not a GGUF file, or contains a tensor that scales the rotary embedding.
    """
    return dict(_template_metadata(path, path.stat().st_mtime_ns))


@lru_cache(maxsize=2)
def _template_metadata(path: Path, changed: int) -> dict[str, Field]:
    from arena_learning.engines.gguf.reader import Reader

    try:
        reader = Reader(str(path))
    except (OSError, ValueError) as error:
        raise ArenaError(f"cannot read the template: {error}", where=str(path)) from None
    _check_rope_tensors(reader, path)
    fields = {}
    for key, found in reader.fields.items():
        if key.startswith("GGUF.") or key in _OWN:
            continue
        fields[key] = Field(
            found.contents(), found.types[0], found.types[-1] if len(found.types) > 1 else None
        )
    return fields


def _check_rope_tensors(reader: GGUFReader, path: Path) -> None:
    """Refuse a template whose rotary embedding is scaled, because no reader used here applies the scaling."""
    names = [tensor.name for tensor in reader.tensors if tensor.name.startswith("rope_")]
    if names:
        raise ArenaError(
            f"its rotary embedding is scaled ({', '.join(names)}), which would be lost when the file is read",
            where=str(path),
            hint="set weights.source to the model's folder of safetensors, and serving.engine to transformers",
        )


def refuse_scaled(path: Path) -> None:
    """Refuse a GGUF file with a scaled rotary embedding as a source of weights: transformers ignores the scaling.

    Raises:
        ArenaError: it is not a GGUF file, or scales its rotary embedding by a tensor or by its metadata.
    """
    for key, field in template_metadata(path).items():
        plain = _HARMLESS.get(key.partition(".")[2])
        if ".rope.scaling." in key and plain is not None and field.value not in plain:
            raise ArenaError(
                f"its rotary embedding is scaled ({key}: {field.value}), which would be lost when the file is read",
                where=str(path),
                hint="set weights.source to the model's folder of safetensors, and serving.engine to transformers",
            )


def made_metadata(folder: Path, computation: Computation) -> dict[str, Field]:
    """Return metadata made from a model's configuration and its byte-level BPE tokenizer.

    Raises:
        ArenaError: the tokenizer's type is not supported.
    """
    from gguf import GGUFValueType as Kind

    architecture = computation.architecture
    fields = {
        "general.architecture": Field(architecture, Kind.STRING),
        "general.name": Field(folder.name, Kind.STRING),
    }
    for key, value in _numbers(computation).items():
        fields[f"{architecture}.{key}"] = (
            Field(float(value), Kind.FLOAT32) if key in _FLOATS else Field(int(value), Kind.UINT32)
        )
    return fields | tokenizer_fields(folder, computation.vocabulary)


def _numbers(computation: Computation) -> dict[str, float]:
    """Return the numeric metadata of a GGUF file, with keys that lack the architecture's prefix."""
    return {
        "rope.freq_base": computation.rope_base,
        "attention.layer_norm_rms_epsilon": computation.epsilon,
        "block_count": computation.layers,
        "context_length": computation.positions,
        "embedding_length": computation.width,
        "feed_forward_length": computation.feed_forward,
        "attention.head_count": computation.heads,
        "attention.head_count_kv": computation.kv_heads,
        "attention.key_length": computation.head_width,
        "attention.value_length": computation.head_width,
        "rope.dimension_count": computation.head_width,
        "vocab_size": computation.vocabulary,
    }


def checked_template(
    fields: dict[str, Field], computation: Computation, folder: Path, path: Path
) -> dict[str, Field]:
    """Return a template's fields with the chat template of the model in ``folder``.

    Raises:
        ArenaError: the template's computation differs from the model's configuration.
    """
    said = {key: field.value for key, field in fields.items()}
    wrong = {key: said[key] for key in ("general.architecture",) if said[key] != computation.architecture}
    prefix = f"{computation.architecture}."
    numbers = _numbers(computation)
    for key, expected in numbers.items():
        found = said.get(prefix + key, _when_absent(computation).get(key, expected))
        if key not in _HARMLESS and not _same(found, expected):
            wrong[prefix + key] = found
    if (tokens := len(said["tokenizer.ggml.tokens"])) != computation.vocabulary:
        wrong["tokens"] = tokens
    if wrong:
        raise ArenaError(
            f"the template is another model's: {wrong}",
            where=str(path),
            hint="use the GGUF file that this model's base was made from (weights.source)",
        )
    odd = {
        key: value
        for key, value in said.items()
        if key.startswith(prefix)
        and (name := key.removeprefix(prefix)) not in numbers
        and (name not in _HARMLESS or value not in (_HARMLESS[name] or (value,)))
    }
    if odd:
        raise export_error(
            f"the template {path} has settings that OpenVINO does not read from a GGUF file: {odd}", folder
        )
    return _with_chat_template(fields, folder)


def _when_absent(computation: Computation) -> dict[str, float]:
    """Return the values that the reader assumes for missing keys."""
    width = computation.width // computation.heads
    return {
        "rope.freq_base": 10000.0,
        "attention.head_count_kv": computation.heads,
        "attention.key_length": width,
        "attention.value_length": width,
    }


def _same(found: object, expected: object) -> bool:
    if isinstance(expected, float) and isinstance(found, float):
        return math.isclose(found, expected, rel_tol=1e-6)  # GGUF stores floats in 32 bits
    return found == expected


def _with_chat_template(fields: dict[str, Field], folder: Path) -> dict[str, Field]:
    """Return the fields with the folder's own chat template instead of the template's."""
    own = template_fields(own_tokenizer(folder).chat_template, folder)
    kept = {
        key: field
        for key, field in fields.items()
        if key in own or not key.startswith(("tokenizer.chat_template.", "tokenizer.chat_templates"))
    }
    return kept | own
