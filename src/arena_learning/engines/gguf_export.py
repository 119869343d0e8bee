"""Export a model folder as GGUF: for the OpenVINO engine, llama.cpp and Ollama.

Metadata and tokenizer come from a template: the GGUF that the base came from. A base that never was a GGUF
gets metadata made from its configuration (`gguf_metadata`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from arena_learning.engines.gguf_metadata import Field, made_metadata, template_metadata
from arena_learning.engines.weights import check_folder
from arena_learning.errors import ArenaError
from arena_learning.new_file import new_file
from arena_learning.rows import read_json

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from gguf import GGMLQuantizationType

GgufType = Literal["f16", "q8_0"]
EXPORT_VERSION = (
    "1"  # raise it when the same model gives other bytes: exports are found by digest and version
)

# Architectures whose tensors only need other names. Llama's rotary halves are also interleaved (`_permute`).
ARCHITECTURES = {"LlamaForCausalLM": "llama", "MistralForCausalLM": "llama", "Qwen2ForCausalLM": "qwen2"}
ARCHITECTURES["Qwen3ForCausalLM"] = "qwen3"
_BLOCK = 32  # Q8_0 stores blocks of 32 weights: other widths stay F16


def export_gguf(model_dir: Path, template_gguf: Path | None, out: Path, dtype: GgufType) -> Path:
    """Write the model in ``model_dir`` to ``out`` as GGUF; the file appears whole or not at all.

    Args:
        model_dir: folder with safetensors, config.json and tokenizer.
        template_gguf: the GGUF that its base came from, or None: then metadata are made from the
            configuration.
        out: the file to write.
        dtype: type of the matrices; norms and biases stay F32.

    Raises:
        ArenaError: the architecture is not known here, or the template is another model's.
    """
    if dtype not in get_args(GgufType):
        raise ArenaError(
            f"a GGUF export in {dtype} is not made here", where="serving.dtype", mend="f16 or q8_0"
        )
    check_folder(model_dir)
    config = read_json(model_dir / "config.json")
    architecture = _architecture(config, model_dir)
    fields = (
        template_metadata(template_gguf) if template_gguf else made_metadata(model_dir, config, architecture)
    )
    _check_template(fields, config, architecture, template_gguf)
    with new_file(out) as written:
        _write(written, architecture, fields, _tensors(model_dir, config, architecture), dtype)
    return out


def _architecture(config: dict[str, Any], model_dir: Path) -> str:
    name = (config.get("architectures") or ["unknown"])[0]
    if name not in ARCHITECTURES:
        raise ArenaError(
            f"{name} cannot be exported as GGUF here (known: {', '.join(sorted(ARCHITECTURES))})",
            where=str(model_dir),
            mend="set serving.engine: transformers",
        )
    return ARCHITECTURES[name]


def _check_template(
    fields: dict[str, Field], config: dict[str, Any], architecture: str, path: Path | None
) -> None:
    """Check that the template is of the same shape as the model."""
    expected = {
        "general.architecture": architecture,
        f"{architecture}.block_count": config["num_hidden_layers"],
        f"{architecture}.embedding_length": config["hidden_size"],
    }
    wrong = {
        key: fields[key].value
        for key, value in expected.items()
        if key in fields and fields[key].value != value
    }
    tokens = len(fields["tokenizer.ggml.tokens"].value)
    if tokens != config["vocab_size"]:
        wrong["tokens"] = tokens
    if wrong:
        raise ArenaError(
            f"the template is another model's: {wrong}",
            where=str(path),
            mend="give the GGUF that this model's base came from (weights.source)",
        )


def _write(
    path: Path,
    architecture: str,
    fields: dict[str, Field],
    tensors: Iterator[tuple[str, npt.NDArray[np.float32]]],
    dtype: GgufType,
) -> None:
    import gguf

    with closing(gguf.GGUFWriter(path, architecture)) as writer:
        for key, field in fields.items():
            if key != "general.architecture":  # the writer has set it
                writer.add_key_value(key, field.value, field.kind, sub_type=field.items)
        file_type = gguf.LlamaFileType.MOSTLY_F16 if dtype == "f16" else gguf.LlamaFileType.MOSTLY_Q8_0
        writer.add_file_type(file_type)
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        for name, tensor in tensors:
            kind = _tensor_type(tensor, dtype)
            writer.add_tensor(name, gguf.quants.quantize(tensor, kind), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()


def _tensor_type(tensor: npt.NDArray[np.float32], dtype: GgufType) -> GGMLQuantizationType:
    from gguf import GGMLQuantizationType

    if tensor.ndim == 1:
        return GGMLQuantizationType.F32
    if dtype == "q8_0" and tensor.shape[-1] % _BLOCK == 0:
        return GGMLQuantizationType.Q8_0
    return GGMLQuantizationType.F16


def _tensors(
    model_dir: Path, config: dict[str, Any], architecture: str
) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Yield the model's tensors under GGUF's names, in fp32, tied copies of the embedding left out."""
    import gguf
    from safetensors import safe_open

    arch = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(arch, config["num_hidden_layers"])
    heads = config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads") or heads
    for file in sorted(model_dir.glob("*.safetensors")):
        with safe_open(file, framework="pt") as weights:  # "pt": numpy has no bfloat16
            for key in sorted(weights.keys()):
                if key == "lm_head.weight" and config.get("tie_word_embeddings"):
                    continue
                name = names.get_name(key, try_suffixes=(".weight", ".bias"))
                if name is None:
                    raise ArenaError(f"no GGUF name for the tensor '{key}'", where=str(file))
                tensor = weights.get_tensor(key).float().numpy()
                if architecture == "llama" and ".self_attn.q_proj." in key:
                    tensor = _permute(tensor, heads)
                if architecture == "llama" and ".self_attn.k_proj." in key:
                    tensor = _permute(tensor, kv_heads)
                yield name, tensor


def _permute(tensor: npt.NDArray[np.float32], heads: int) -> npt.NDArray[np.float32]:
    """Reorder rows from halves (rotary of transformers) to neighbouring pairs (rotary of GGUF's llama)."""
    import numpy as np

    halves = tensor.reshape(heads, 2, tensor.shape[0] // heads // 2, *tensor.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(tensor.shape))
