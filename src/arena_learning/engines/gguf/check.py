"""Checks a GGUF file against the model that was exported: all shapes, and samples of the numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from arena_learning.core import ArenaError
from arena_learning.engines.gguf.config import OTHER_ENGINE, Computation

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from gguf import GGMLQuantizationType

    from arena_learning.engines.gguf.tensors import Tensors

_ROWS = 8  # number of evenly spaced rows that are checked in a matrix


def expected_shapes(computation: Computation) -> dict[str, tuple[int, ...]]:
    """Return the shapes (rows first) of a file's tensors by GGUF name, derived from the configuration."""
    width, vocabulary, inner = computation.width, computation.vocabulary, computation.feed_forward
    queries = computation.heads * computation.head_width
    keys = computation.kv_heads * computation.head_width
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (vocabulary, width),
        "output_norm.weight": (width,),
    }
    if not computation.tied:
        shapes["output.weight"] = (vocabulary, width)
    block: dict[str, tuple[int, ...]] = {"attn_norm.weight": (width,), "ffn_norm.weight": (width,)}
    attention = {"q": (queries, width), "k": (keys, width), "v": (keys, width), "output": (width, queries)}
    feed_forward = {"gate": (inner, width), "up": (inner, width), "down": (width, inner)}
    for name, shape in attention.items():
        block[f"attn_{name}.weight"] = shape
        # In Qwen2 the attention output has no bias.
        if computation.attention_bias and not (computation.architecture == "qwen2" and name == "output"):
            block[f"attn_{name}.bias"] = shape[:1]
    for name, shape in feed_forward.items():
        block[f"ffn_{name}.weight"] = shape
        if computation.mlp_bias:
            block[f"ffn_{name}.bias"] = shape[:1]
    if computation.architecture == "qwen3":
        block |= {
            "attn_q_norm.weight": (computation.head_width,),
            "attn_k_norm.weight": (computation.head_width,),
        }
    for number in range(computation.layers):
        shapes |= {f"blk.{number}.{name}": shape for name, shape in block.items()}
    return shapes


def check_written(path: Path, tensors: Tensors) -> None:
    """Check a file against the tensors that it should contain.

    All names and shapes are compared with the configuration. Some rows of the embedding, the first, middle and last
    block, and the tensors after the blocks are compared with the model's numbers, to the precision of their type.

    Raises:
        ArenaError: the file cannot be read, or its contents differ.
    """
    from arena_learning.engines.gguf.reader import Reader

    try:
        written = {tensor.name: tensor for tensor in Reader(str(path)).tensors}
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise _bad(f"the export cannot be read back ({error})", tensors.folder) from error
    expected = expected_shapes(tensors.computation)
    found = {name: tuple(int(size) for size in reversed(tensor.shape)) for name, tensor in written.items()}
    if found != expected:
        differing = sorted(name for name in found.keys() | expected if found.get(name) != expected.get(name))
        name = differing[0]
        raise _bad(
            f"{len(differing)} tensors do not match the configuration: {name} is {found.get(name, 'missing')},"
            f" expected {expected.get(name, 'none')}",
            tensors.folder,
        )
    for name in _sampled(tensors.computation, expected):
        rows = _rows(expected[name])
        there = _numbers(written[name].data, written[name].tensor_type, rows)
        own = _own_rows(tensors, name, rows)
        if not (abs(there - own) <= _allowed(own, written[name].tensor_type)).all():
            raise _bad(f"{name} does not contain the model's numbers", tensors.folder)


def _bad(what: str, folder: Path) -> ArenaError:
    return ArenaError(what, where=str(folder), hint=f"export again; if that does not help, {OTHER_ENGINE}")


def _sampled(computation: Computation, names: dict[str, tuple[int, ...]]) -> list[str]:
    blocks = {f"blk.{number}." for number in (0, computation.layers // 2, computation.layers - 1)}
    return [name for name in names if not name.startswith("blk.") or name.startswith(tuple(blocks))]


def _rows(shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Return the indices of the rows to check; all of a vector."""
    import numpy as np

    rows = shape[0]
    return np.arange(rows) if len(shape) == 1 else np.unique(np.linspace(0, rows - 1, _ROWS).astype(np.int64))


def _numbers(
    data: npt.NDArray[np.uint8], kind: GGMLQuantizationType, rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    from gguf.quants import dequantize

    found: npt.NDArray[np.float32] = dequantize(data[rows], kind)
    return found


def _own_rows(tensors: Tensors, name: str, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Return rows of the model's own tensor, computed independently of the export's reordering."""
    import numpy as np
    from safetensors import safe_open

    file, key = tensors.places[name]
    with safe_open(file, framework="pt") as weights:
        stored = weights.get_slice(key)
        size = int(stored.get_shape()[0])
        if heads := tensors.rotated_heads(name):
            # Row 2i + j of a head in GGUF is row i of its half j in transformers.
            head, within = np.divmod(rows, size // heads)
            rows = head * (size // heads) + (within % 2) * (size // heads // 2) + within // 2
        if len(rows) == size:
            own: npt.NDArray[np.float32] = weights.get_tensor(key).float().numpy()[rows]
        else:
            own = np.concatenate([stored[int(row) : int(row) + 1].float().numpy() for row in rows])
    return own


def _allowed(own: npt.NDArray[np.float32], kind: GGMLQuantizationType) -> npt.NDArray[np.float32]:
    """Return the allowed error of each number: half a step of its type."""
    import numpy as np

    if kind.name == "F32":
        return np.zeros_like(own)
    if kind.name == "F16":
        half: npt.NDArray[np.float32] = np.maximum(abs(own) * np.float32(2.0**-11), np.float32(2.0**-25))
        return half
    # Q8_0: a step is 1/127 of the block's largest number, stored in F16; the row's largest is an upper bound for it.
    largest: npt.NDArray[np.float32] = np.broadcast_to(abs(own).max(axis=-1, keepdims=True), own.shape)
    return largest * np.float32(0.5 / 127 + 2.0**-11) + np.float32(127 * 2.0**-25)
