"""Exports a model folder as GGUF, for the OpenVINO engine, llama.cpp and Ollama.

Metadata and tokenizer come from a template, the GGUF file that the base model was made from. For a base model from
another source, metadata are made from its configuration (`gguf.metadata`).
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from arena_learning.core import ArenaError, atomic_write
from arena_learning.engines.gguf.check import check_written
from arena_learning.engines.gguf.config import Computation, export_error, read_computation
from arena_learning.engines.gguf.metadata import checked_template, made_metadata, template_metadata
from arena_learning.engines.gguf.tensors import Tensors
from arena_learning.engines.gguf.vocabulary import Field
from arena_learning.engines.weights import check_folder

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from gguf import GGMLQuantizationType

GgufType = Literal["f16", "q8_0"]
EXPORT_VERSION = (
    "1"  # part of the store's keys: raise it when a correctly served model would give other answers
)

_BLOCK = 32  # Q8_0 stores blocks of 32 weights; matrices of other widths are stored in F16
_LARGEST_F16 = 65504.0


def export_gguf(
    model_dir: Path,
    template_gguf: Path | None,
    out: Path,
    dtype: GgufType,
    *,
    computation: Computation | None = None,
    layers: int | None = None,
) -> Path:
    """Write the model in ``model_dir`` to ``out`` as GGUF, atomically.

    Args:
        model_dir: folder with safetensors, config.json and tokenizer.
        template_gguf: the GGUF file that its base model was made from; None: make metadata from the configuration.
        out: the file to write.
        dtype: type of the matrices; norms and biases are F32.
        computation: the model's computation, if it was already read.
        layers: number of blocks to write for a comparison, which replaces the check of the file; None: all blocks,
            with the check.

    Raises:
        ArenaError: the architecture is unknown, the template is of another model, or configuration, tokenizer or
            weights contain something that GGUF cannot represent.
    """

    if dtype not in get_args(GgufType):
        raise ArenaError(
            f"GGUF exports in {dtype} are not supported", where="serving.dtype", hint="use f16 or q8_0"
        )
    check_folder(model_dir)
    computation = computation or read_computation(model_dir)
    if template_gguf:
        found = template_metadata(template_gguf)
        fields = checked_template(found, computation, model_dir, template_gguf)
    else:
        fields = made_metadata(model_dir, computation)
    if layers is not None:
        computation = computation.first(layers)
        key = f"{computation.architecture}.block_count"
        fields[key] = fields[key]._replace(value=computation.layers)
    tensors = Tensors(model_dir, computation)
    with atomic_write(out) as written:
        _write(written, computation.architecture, fields, tensors, dtype)
        if layers is None:
            check_written(written, tensors)
    return out


def _write(
    path: Path, architecture: str, fields: dict[str, Field], tensors: Tensors, dtype: GgufType
) -> None:
    import gguf

    with closing(gguf.GGUFWriter(path, architecture)) as writer:
        for key, field in fields.items():
            if key != "general.architecture":  # the writer has set it
                writer.add_key_value(key, field.value, field.kind, sub_type=field.items)
        file_type = gguf.LlamaFileType.MOSTLY_F16 if dtype == "f16" else gguf.LlamaFileType.MOSTLY_Q8_0
        writer.add_file_type(file_type)
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        for name in tensors.places:
            tensor = tensors.read(name)
            kind = _tensor_type(tensor, dtype)
            _check_numbers(name, tensor, kind, tensors.folder)
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


def _check_numbers(
    name: str, tensor: npt.NDArray[np.float32], kind: GGMLQuantizationType, folder: Path
) -> None:
    """Refuse NaN, infinities, and numbers that are too large for the type."""
    largest = float(abs(tensor).max(initial=0))  # NaN if the tensor contains NaN
    limit = {"F32": float("inf"), "F16": _LARGEST_F16, "Q8_0": _LARGEST_F16 * 127}[kind.name]
    if largest < limit:
        return
    if largest < float("inf"):
        raise export_error(f"{name} contains {largest:.3g}, which is too large for {kind.name}", folder)
    raise export_error(
        f"{name} contains NaN or infinite values",
        folder,
        "train again with a lower learning rate, or repair the weights",
    )
