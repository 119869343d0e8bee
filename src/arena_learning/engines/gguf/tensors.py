"""The tensors of a model's folder under their GGUF names, as the file is to hold them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from arena_learning.engines.gguf.config import Computation, export_error

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True)
class Tensors:
    """The tensors of a model's folder, by GGUF name.

    Attributes:
        folder: the model's folder.
        computation: the model's computation; blocks beyond its ``layers`` are left out.
    """

    folder: Path
    computation: Computation

    @cached_property
    def places(self) -> dict[str, tuple[Path, str]]:
        """File and key of each tensor by GGUF name, in the order of files and keys."""
        import gguf
        from safetensors import safe_open

        arch = next(
            key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == self.computation.architecture
        )
        names = gguf.get_tensor_name_map(arch, self.computation.layers)
        places: dict[str, tuple[Path, str]] = {}
        for file in sorted(self.folder.glob("*.safetensors")):
            with safe_open(file, framework="pt") as weights:
                for key in sorted(weights.keys()):
                    if self._passed_over(key):
                        continue
                    name = names.get_name(key, try_suffixes=(".weight", ".bias"))
                    if name is None or name in places:
                        what = "no GGUF name for the tensor" if name is None else "twice there is the tensor"
                        raise export_error(f"{what} '{key}' of {file.name}", self.folder)
                    places[name] = (file, key)
        return places

    def _passed_over(self, key: str) -> bool:
        """Whether the tensor is left out: transformers does not read it either, or its block is left out."""
        if key == "lm_head.weight" and self.computation.tied:
            return True  # a copy of the embedding
        if key.endswith(".rotary_emb.inv_freq"):
            return True  # written by old versions of transformers; computed from the base
        _, blocks, after = key.partition("model.layers.")
        number = after.partition(".")[0]
        return bool(blocks) and number.isdigit() and int(number) >= self.computation.layers

    def read(self, name: str) -> npt.NDArray[np.float32]:
        """Return a tensor in fp32, with its rows in GGUF's order."""
        from safetensors import safe_open

        file, key = self.places[name]
        with safe_open(file, framework="pt") as weights:  # "pt": numpy has no bfloat16
            tensor: npt.NDArray[np.float32] = weights.get_tensor(key).float().numpy()
        heads = self.rotated_heads(name)
        return _permute(tensor, heads) if heads else tensor

    def rotated_heads(self, name: str) -> int:
        """Return the number of heads whose rows GGUF orders differently; 0 if the order is the same."""
        if self.computation.architecture != "llama":
            return 0
        kinds = {"attn_q": self.computation.heads, "attn_k": self.computation.kv_heads}
        return kinds.get(name.split(".")[-2], 0)


def _permute(tensor: npt.NDArray[np.float32], heads: int) -> npt.NDArray[np.float32]:
    """Reorder rows from halves (transformers' rotary embedding) to neighbouring pairs (that of GGUF's llama)."""
    import numpy as np

    halves = tensor.reshape(heads, 2, tensor.shape[0] // heads // 2, *tensor.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(tensor.shape))
