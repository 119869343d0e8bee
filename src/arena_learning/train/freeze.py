"""Trainings that keep a model's first layers as they are: no gradient is computed for them, nor passed through them.

The backward pass, two thirds of a step, ends above the frozen layers, and the optimiser holds no moments for them. The
token embeddings lie below and are frozen, too, with the output layer where both are one tensor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn

from arena_learning.core import ArenaError
from arena_learning.params import Footprint

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__: Sequence[str] = ("cast_once", "freeze_first_layers", "frozen_first_layers")


def freeze_first_layers(model: PreTrainedModel, how: Footprint) -> None:
    """Freeze the first layers of a model, and all that comes before them.

    Args:
        model: of transformers, with any head.
        how: its `frozen_layers` says how many; where that is no layer, nothing is frozen.

    Raises:
        ArenaError: the model's layers are not found.

    Example:
        >>> from transformers import LlamaConfig, LlamaForCausalLM
        >>> sizes = {"vocab_size": 8, "hidden_size": 4, "intermediate_size": 4, "num_attention_heads": 1}
        >>> model = LlamaForCausalLM(LlamaConfig(**sizes, num_hidden_layers=3))
        >>> freeze_first_layers(model, Footprint(frozen_layers=0.7))
        >>> sorted({".".join(n.split(".")[:3]) for n, w in model.named_parameters() if w.requires_grad})
        ['lm_head.weight', 'model.layers.2', 'model.norm.weight']
    """
    count = int(model.config.get_text_config().num_hidden_layers) if how.frozen_layers else 0
    number = how.frozen_of(count)
    if not number:
        return
    holder, name = _layers(model, count)
    after = _after(holder, name)
    learnt = [*getattr(holder, name)[number:], *after, *_heads(model)]
    shared = model.get_input_embeddings().weight
    model.requires_grad_(False)
    for module in learnt:
        module.requires_grad_(True)
    shared.requires_grad_(False)


def frozen_first_layers(model: PreTrainedModel) -> list[nn.Module]:
    """Return a model's first layers up to the first that learns; none where something before them learns."""
    try:
        holder, name = _layers(model, int(model.config.get_text_config().num_hidden_layers))
    except ArenaError:  # nobody asked for frozen layers: adapters leave all weights as they are, too
        return []
    first: list[nn.Module] = []
    for layer in getattr(holder, name):
        if any(weight.requires_grad for weight in layer.parameters()):
            break
        first.append(layer)
    above = {
        id(weight) for part in (getattr(holder, name), *_after(holder, name)) for weight in part.parameters()
    }
    before = [weight for weight in model.base_model.parameters() if id(weight) not in above]
    return [] if any(weight.requires_grad for weight in before) else first


@contextmanager
def cast_once(model: nn.Module) -> Iterator[None]:
    """Let autocast on a CPU keep the bf16 copies of frozen weights, too, while no gradient is computed.

    It keeps a copy only of weights that ask for a gradient, and would cast the others again for each sampled token. On
    a GPU the copies of a large model may have no room, so nothing changes there.
    """
    frozen = [weight for weight in model.parameters() if not weight.requires_grad]
    wanted = torch.is_autocast_enabled("cpu")
    for weight in frozen if wanted else ():
        weight.requires_grad_(True)
    try:
        yield
    finally:
        for weight in frozen if wanted else ():
            weight.requires_grad_(False)


def _layers(model: PreTrainedModel, count: int) -> tuple[nn.Module, str]:
    """Return the module that holds the list of a model's layers, and the list's name in it."""
    for module in model.base_model.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.ModuleList) and len(child) == count:
                return module, name
    raise ArenaError(
        f"the {count} layers of {type(model).__name__} are not found, so the first ones cannot be frozen",
        where="train",
        hint="set frozen_layers to 0",
    )


def _after(holder: nn.Module, name: str) -> list[nn.Module]:
    """Return the modules that come after the list of layers, such as the last norm."""
    children = list(holder.named_children())
    place = [child for child, _ in children].index(name)
    return [child for _, child in children[place + 1 :]]


def _heads(model: PreTrainedModel) -> list[nn.Module]:
    """Return the modules beside a model's body, such as its output layer."""
    return [child for child in model.children() if child is not model.base_model]
