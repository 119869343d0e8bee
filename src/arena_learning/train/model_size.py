"""The sizes of a model, by its configuration alone: what a training's memory is computed from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from arena_learning.core import ArenaError, first_line


class ModelSize(NamedTuple):
    """What the sizes of a model are.

    Attributes:
        weights: number of weights, shared ones once.
        vocabulary: entries of the vocabulary.
        hidden: width of a hidden state.
        layers: number of layers.
        inner: width of the MLP.
        cached: width of a layer's keys (and of its values).
    """

    weights: int
    vocabulary: int
    hidden: int
    layers: int
    inner: int
    cached: int

    @property
    def layer(self) -> int:
        """Weights of a layer."""
        return (self.weights - self.vocabulary * self.hidden) // self.layers


def model_size(folder: Path | str, trust_remote_code: bool = False) -> ModelSize:
    """Return the sizes of the model in a folder (or in the hub's cache), by its configuration alone.

    Raises:
        ArenaError: there is no configuration of a decoder.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=trust_remote_code
        )
    except (OSError, ValueError) as error:
        raise ArenaError(
            f"there is no model's configuration: {first_line(error)}",
            where=str(folder),
            hint="make the base model by `arena weights`, or name another folder by --model",
        ) from None
    return size_by_config(config, trust_remote_code)


def size_by_config(config: Any, trust_remote_code: bool = False) -> ModelSize:
    """Return the sizes of a model with this configuration of transformers'; no weight is made."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    text = config.get_text_config()
    heads = int(text.num_attention_heads)
    width = int(getattr(text, "head_dim", None) or text.hidden_size // heads)
    return ModelSize(
        weights=sum(weight.numel() for weight in model.parameters()),
        vocabulary=int(text.vocab_size),
        hidden=int(text.hidden_size),
        layers=int(text.num_hidden_layers),
        inner=int(getattr(text, "intermediate_size", None) or 4 * text.hidden_size),
        cached=width * int(getattr(text, "num_key_value_heads", None) or heads),
    )
