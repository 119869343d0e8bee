"""Reads what a model computes from its configuration, and refuses settings that a GGUF file would lose.

A GGUF file contains less than a configuration, and OpenVINO GenAI reads only a part of the file: it ignores scaling of
rotary embeddings and attention windows. So each key of a configuration must be one that is written, that has the value
which the reader assumes, or that changes no answer; any other key is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arena_learning.core import ArenaError, first_line, read_json

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

# transformers' class -> (its model_type, GGUF's architecture). Exports rename tensors, and reorder rows for Llama.
ARCHITECTURES = {
    "LlamaForCausalLM": ("llama", "llama"),
    "MistralForCausalLM": ("mistral", "llama"),
    "Qwen2ForCausalLM": ("qwen2", "qwen2"),
    "Qwen3ForCausalLM": ("qwen3", "qwen3"),
}
OTHER_ENGINE = "set serving.engine: transformers"

_WRITTEN = set(
    "architectures attention_bias head_dim hidden_act hidden_size intermediate_size layer_types"
    " max_position_embeddings max_window_layers mlp_bias model_type num_attention_heads num_hidden_layers"
    " num_key_value_heads partial_rotary_factor rms_norm_eps rope_parameters rope_scaling rope_theta sliding_window"
    " tie_word_embeddings use_sliding_window vocab_size".split()
)
# Keys about training, generation, files or labels, which do not change the next token's logits.
_HARMLESS = set(
    "_attn_implementation _model_name_or_path _name_or_path attn_implementation chunk_size_feed_forward dtype"
    " id2label initializer_range"
    " is_llama_config label2id max_length max_sequence_length min_length model_max_length name_or_path"
    " output_attentions output_hidden_states prefix pretraining_tp problem_type return_dict task_specific_params"
    " tokenizer_class torch_dtype transformers_version transformers.js_config unsloth_fixed unsloth_version"
    " use_cache".split()
)
_HARMLESS_ENDS = ("_token_id", "dropout", "_pdrop", "_dropout_prob")
_BIASED = (
    "qwen3",
)  # architectures for which OpenVINO reads `attention_bias`; for llama it does not reorder the bias


@dataclass(frozen=True)
class Computation:
    """Everything besides the weights that determines what a model computes.

    Attributes:
        name: transformers' class.
        architecture: GGUF's name of the architecture.
        layers: number of blocks.
        width: width of the hidden state.
        feed_forward: inner width of the feed-forward layers.
        heads: number of query heads.
        kv_heads: number of key and value heads.
        head_width: width of a head; not always ``width / heads``.
        vocabulary: number of rows of the embedding, padding included.
        positions: maximum context length.
        epsilon: epsilon of the RMS norms.
        rope_base: base of the rotary embedding, which rotates whole heads and is not scaled.
        tied: whether the embedding is also the output matrix.
        attention_bias: whether the attention's matrices have biases (Qwen2's q, k and v always do).
        mlp_bias: whether the feed-forward matrices have biases.
    """

    name: str
    architecture: str
    layers: int
    width: int
    feed_forward: int
    heads: int
    kv_heads: int
    head_width: int
    vocabulary: int
    positions: int
    epsilon: float
    rope_base: float
    tied: bool
    attention_bias: bool
    mlp_bias: bool

    def first(self, layers: int) -> Computation:
        """Return the computation of the model's first ``layers`` blocks."""
        return replace(self, layers=min(layers, self.layers))


def read_computation(folder: Path) -> Computation:
    """Return what the model in ``folder`` computes.

    Raises:
        ArenaError: the configuration cannot be read, or has a setting that an export would lose; the error names it,
            and suggests `serving.engine: transformers`.
    """
    raw: dict[str, Any] = read_json(folder / "config.json")
    kinds = raw.get("architectures") or ["unknown"]
    if kinds[0] not in ARCHITECTURES:
        raise export_error(
            f"{kinds[0]} cannot be exported as GGUF here (known: {', '.join(sorted(ARCHITECTURES))})", folder
        )
    model_type, architecture = ARCHITECTURES[kinds[0]]
    if raw.get("model_type", model_type) != model_type:
        raise export_error(
            f"{kinds[0]} of model_type '{raw['model_type']}' is not exported as GGUF here", folder
        )
    _check_keys(raw, folder)
    for key in (
        "rope_scaling",
        "rope_parameters",
    ):  # before transformers, which reports incomplete scaling with an unclear error
        _check_rope_kind(raw.get(key), folder)
    config = _load(folder)
    _check_values(config, architecture, folder)
    heads = config.num_attention_heads
    return Computation(
        name=kinds[0],
        architecture=architecture,
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        feed_forward=config.intermediate_size,
        heads=heads,
        kv_heads=config.num_key_value_heads or heads,
        head_width=getattr(config, "head_dim", None) or config.hidden_size // heads,
        vocabulary=config.vocab_size,
        positions=config.max_position_embeddings,
        epsilon=float(config.rms_norm_eps),
        rope_base=_rope_base(config, folder),
        tied=bool(config.tie_word_embeddings),
        attention_bias=architecture == "qwen2" or bool(getattr(config, "attention_bias", False)),
        mlp_bias=bool(getattr(config, "mlp_bias", False)),
    )


def significant(raw: dict[str, Any]) -> dict[str, Any]:
    """Return the entries of a config.json that may change an answer."""
    return {key: value for key, value in raw.items() if not _harmless(key, value)}


def export_error(what: str, folder: Path, hint: str = OTHER_ENGINE) -> ArenaError:
    """Return the error for a model that cannot be exported; the default ``hint`` is an engine that can serve it."""
    return ArenaError(what, where=str(folder), hint=hint)


def _load(folder: Path) -> PreTrainedConfig:
    """Return the configuration as transformers reads it: with current names of keys, and with defaults."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(str(folder))
    except (OSError, ValueError, KeyError, StrictDataclassError) as error:
        first = first_line(error)
        raise ArenaError(
            f"transformers cannot read the configuration: {first}",
            where=str(folder / "config.json"),
            hint="give the folder as save_pretrained wrote it",
        ) from error


def _check_keys(raw: dict[str, Any], folder: Path) -> None:
    """Refuse unknown keys, except those that turn something off."""
    if raw.get("auto_map"):
        raise export_error("the model needs its own code (auto_map)", folder)
    if raw.get("quantization_config"):
        raise export_error(
            "quantised safetensors (quantization_config) cannot be exported as GGUF here", folder
        )
    if unknown := {key: value for key, value in significant(raw).items() if key not in _WRITTEN}:
        said = ", ".join(f"{key}: {str(value)[:60]}" for key, value in sorted(unknown.items()))
        raise export_error(f"config.json asks for what a GGUF export here cannot say ({said})", folder)


def _harmless(key: str, value: object) -> bool:
    off = value is None or value is False or value in ("", [], {})  # the same as a missing key
    return key in _HARMLESS or key.endswith(_HARMLESS_ENDS) or (off and key not in _WRITTEN)


def _check_values(config: PreTrainedConfig, architecture: str, folder: Path) -> None:
    """Refuse values that OpenVINO does not read, because it assumes others."""
    if config.hidden_act not in ("silu", "swish"):
        raise export_error(
            f"hidden_act '{config.hidden_act}' would be lost in a GGUF file: silu is read", folder
        )
    if getattr(config, "attention_bias", False) and architecture not in (*_BIASED, "qwen2"):
        raise export_error("attention_bias: true is read wrongly by OpenVINO from a GGUF file", folder)
    if getattr(config, "mlp_bias", False) and config.model_type != "llama":
        raise export_error(f"mlp_bias: true is not supported for {config.model_type}", folder)
    kinds = set(getattr(config, "layer_types", None) or [])
    if odd := kinds - {"full_attention", "sliding_attention"}:
        raise export_error(f"layers of {', '.join(sorted(odd))} cannot be exported as GGUF here", folder)
    window = getattr(config, "sliding_window", None)
    slides = window is not None and (config.model_type == "mistral" or "sliding_attention" in kinds)
    if slides and window < config.max_position_embeddings:
        raise export_error(
            f"sliding_window: {window} of {config.max_position_embeddings} positions would be lost: OpenVINO reads"
            " no window from a GGUF file",
            folder,
        )


def _check_rope_kind(rope: object, folder: Path) -> None:
    if not isinstance(rope, dict):
        return
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        raise export_error(
            f"a rotary embedding of type {kind} (rope_scaling) would be lost: OpenVINO reads no scaling from a GGUF"
            " file",
            folder,
        )


def _rope_base(config: PreTrainedConfig, folder: Path) -> float:
    """Return the base of the rotary embedding; refuse a scaled or partial one."""
    rope: dict[str, Any] = dict(config.rope_parameters or {})
    _check_rope_kind(rope, folder)
    base = rope.pop("rope_theta", None)
    part = rope.pop("partial_rotary_factor", None)
    if part not in (None, 1, 1.0):
        raise export_error(f"partial_rotary_factor: {part} would be lost: whole heads are rotated", folder)
    if rope.keys() - {"rope_type", "type"} or not isinstance(base, int | float):
        raise export_error(f"rope_parameters {config.rope_parameters} cannot be written as GGUF here", folder)
    return float(base)
