"""Decoding on a CPU: what follows prompts that were read once, token by token.

A token of few rows takes the time of reading all weights, and of what is copied besides. So weights are packed once for
the products of few rows, keys and values are written where they stay, and a response that has ended leaves the batch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

__all__: Sequence[str] = (
    "cache_name",
    "cache_prompts",
    "continue_prompts",
    "decodes_here",
    "packed",
    "repeats_cache",
)

STAY = 0.9  # where at most this share of a batch's responses goes on, the others leave it
KEPT_BY_TOKEN = {
    "full_attention",
    "sliding_attention",
    "chunked_attention",
}  # a cache of these can be repeated
ROOM = 128  # tokens that keys and values get room for at a time
ROWS = 48  # of the products that weights are packed for; others are as right, and a little slower


class RoomyLayer(DynamicLayer):  # type: ignore[misc]  # transformers is untyped here
    """A layer's keys and values with room for those to come; `DynamicLayer` copies all of them at each token."""

    def __init__(self, layer: DynamicLayer) -> None:
        super().__init__()
        self.device, self.dtype = layer.keys.device, layer.keys.dtype
        self.keys, self.values, self.is_initialized = layer.keys, layer.values, True
        self.room: tuple[Tensor, ...] = ()

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Add (rows, heads, tokens, width) keys and values, and return all of them."""
        old = self.keys.shape[-2]
        new = old + key_states.shape[-2]
        if not self.room or self.room[0].shape[-2] < new or len(self.room[0]) != len(key_states):
            self.room = tuple(_with_room(had, new + ROOM) for had in (self.keys, self.values))
        for room, states in zip(self.room, (key_states, value_states), strict=True):
            room[:, :, old:new] = states
        self.keys, self.values = (room[:, :, :new] for room in self.room)
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows."""
        self.room = ()
        super().batch_select_indices(indices)


def _grows(layer: Any) -> bool:
    """Whether a cache's layer copies all of its keys at each token; one that shares another layer's has none."""
    return type(layer) is DynamicLayer and layer.get_seq_length() > 0


def _with_room(states: Tensor, length: int) -> Tensor:
    """Return a copy of (rows, heads, tokens, width) that has ``length`` tokens; those that are new are not set."""
    found = states.new_empty(*states.shape[:2], length, states.shape[3])
    found[:, :, : states.shape[2]] = states
    return found


@contextmanager
def packed(model: nn.Module) -> Iterator[None]:
    """Let a model's linear layers multiply by weights packed for few rows; no gradient may be computed meanwhile.

    torch packs weights anew for each product on a CPU; with few rows that takes as long as the product itself. The
    packed ones need the model's memory once more. Under autocast, or with another build of torch, nothing changes.
    """
    layers = [module for module in model.modules() if type(module) is nn.Linear and _can_pack(module)]
    own = [layer for layer in layers if "forward" not in vars(layer)]
    for layer in own:
        vars(layer)["forward"] = _multiply_by(layer)
    try:
        yield
    finally:
        for layer in own:
            del vars(layer)["forward"]


def _can_pack(layer: nn.Linear) -> bool:
    """Whether a layer's weights are packed; those of which this process holds a part, or none, are not."""
    weight = layer.weight
    whole = type(weight.data) is Tensor and 0 < weight.nbytes <= weight.untyped_storage().nbytes()
    return (
        whole
        and weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def _multiply_by(layer: nn.Linear) -> Callable[[Tensor], Tensor]:
    weights = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), ROWS)
    bias = None if layer.bias is None else layer.bias.detach()

    def forward(hidden: Tensor) -> Tensor:
        product: Tensor = torch.ops.mkldnn._linear_pointwise(hidden, weights, bias, "none", [], "")
        return product

    return forward


def repeats_cache(model: PreTrainedModel) -> bool:
    """Whether the model's cache is by token and it is told positions; a recurrent state is not repeated here."""
    kinds = getattr(model.config.get_text_config(), "layer_types", None) or ["full_attention"]
    alone = getattr(model, "get_base_model", lambda: model)()  # without LoRA's wrapper
    told = {"position_ids", "logits_to_keep"} <= inspect.signature(alone.forward).parameters.keys()
    return told and set(kinds) <= KEPT_BY_TOKEN and not getattr(model, "_is_stateful", False)


def decodes_here(model: PreTrainedModel) -> bool:
    """Whether `continue_prompts` samples from a model: on a GPU `generate` does."""
    return model.device.type == "cpu" and repeats_cache(model)


def cache_name() -> str:
    """Return the model's argument for a cache: `past_key_values`, and from transformers 5.24 on `cache`."""
    from transformers.generation.utils import ALL_CACHE_NAMES

    return str(ALL_CACHE_NAMES[0])


def cache_prompts(model: PreTrainedModel, ids: Tensor, mask: Tensor, copies: int) -> DynamicCache:
    """Return the cache of prompts without their last token, each ``copies`` times."""
    cache = DynamicCache(config=model.config)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    model(
        input_ids=ids, attention_mask=mask, position_ids=positions, logits_to_keep=1, **{cache_name(): cache}
    )
    cache.batch_repeat_interleave(copies)
    return cache


@torch.no_grad()
def continue_prompts(
    model: PreTrainedModel,
    cache: DynamicCache,
    ids: Tensor,
    mask: Tensor,
    choose: Callable[[Tensor, Tensor, int], Tensor],
    *,
    longest: int,
    copies: int,
    end: int,
) -> list[list[int]]:
    """Return what follows each prompt, ``copies`` times, as `generate` samples it.

    On a CPU a token takes time by the rows that it is computed for. `generate` computes those that have ended until the
    last one ends; here they leave the batch.

    Args:
        model: the policy.
        cache: of the prompts without their last tokens.
        ids: (prompts, tokens), padded on the left.
        mask: the same shape, 1 at a prompt's own tokens.
        choose: gives the next token of each row, from (rows, vocabulary) scores, the rows' places among all responses,
            and the number of tokens so far.
        longest: tokens of a response at most.
        copies: responses to each prompt.
        end: the token that ends a response.
    """
    mask = mask.repeat_interleave(copies, 0)
    tokens = ids[:, -1].repeat_interleave(copies, 0)
    said: list[list[int]] = [[] for _ in range(len(mask))]
    going = torch.arange(len(mask), device=mask.device)  # the responses of the batch's rows
    name = cache_name()
    cache.layers = [RoomyLayer(layer) if _grows(layer) else layer for layer in cache.layers]
    for column in range(longest):
        out = model(
            input_ids=tokens[:, None],
            attention_mask=mask,
            position_ids=mask.sum(-1, keepdim=True) - 1,
            use_cache=True,
            logits_to_keep=1,
            **{name: cache},
        )
        tokens = choose(out.logits[:, -1], going, column)
        for place, token in zip(going.tolist(), tokens.tolist(), strict=True):
            if not said[place] or said[place][-1] != end:
                said[place].append(token)
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
        stays = torch.tensor([row for row, place in enumerate(going.tolist()) if said[place][-1] != end])
        if not len(stays):
            break
        if len(stays) <= STAY * len(going):  # each time, the cache is copied
            stays = stays.to(mask.device)
            cache.batch_select_indices(stays)
            tokens, mask, going = tokens[stays], mask[stays], going[stays]
    return said
