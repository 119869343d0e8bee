"""Rows end to end in one sequence, each attending to itself alone: no product is spent on padding.

A batch padded to its longest row computes the padding, too, and small batches cast the weights to bf16 once more
each. As one sequence, a whole step takes one forward pass. transformers would mask the other rows and compute them
nevertheless; here each row is attended to by itself, in fp32, which flash attention on a CPU is faster in than in
bf16.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from arena_learning.core import logger

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__: Sequence[str] = ("end_to_end", "rows_apart")

NAME = "rows_end_to_end"
# A sequence's length is a multiple of it: for each length, oneDNN makes and keeps products of its own (37 MB a step).
MULTIPLE = 32
BOUNDS = "cu_seq_lens_q"  # transformers' name for where the rows of a sequence begin
KINDS = {"full_attention", "sliding_attention"}
# What an attention may be told besides, and this one does not know.
UNKNOWN = ("softcap", "s_aux", "position_bias", "head_mask")


def rows_apart(model: PreTrainedModel) -> bool:
    """Make a model ready for `end_to_end`, and return whether it is: whether rows side by side change nothing.

    A model that carries a state from token to token, or that attends in a way of its own, is not.
    """
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if config._attn_implementation not in ("sdpa", NAME) or not kinds <= KINDS:
        return False
    _register()
    model.set_attn_implementation(NAME)
    try:
        if _changes_nothing(model):
            return True
    except (NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        logger.debug("rows are padded: %s", error)
    model.set_attn_implementation("sdpa")
    return False


def end_to_end(model: PreTrainedModel, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """Return what the model's body computes for a padded batch, computed without the padding.

    Args:
        model: one that `rows_apart` has made ready.
        input_ids: (rows, tokens), padded on any side.
        attention_mask: the same shape, 1 at a row's own tokens.

    Returns:
        (the rows' own tokens, width): the rows' hidden states, one row after the other.
    """
    own = attention_mask.bool()
    places = attention_mask.cumsum(1) - 1
    bounds = torch.cat([own.new_zeros(1, dtype=torch.int32), own.sum(1).cumsum(0).int()])
    count = int(bounds[-1])
    more = -count % MULTIPLE  # a row of its own, and nobody's
    ids = torch.cat([input_ids[own], input_ids.new_zeros(more)])
    positions = torch.cat([places[own], torch.arange(more, device=places.device)])
    if more:
        bounds = torch.cat([bounds, bounds[-1:] + more])
    out = model.base_model(
        input_ids=ids[None], position_ids=positions[None], use_cache=False, **{BOUNDS: bounds}
    )
    hidden: Tensor = out.last_hidden_state[0, :count]
    return hidden


def _register() -> None:
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(NAME, _attend)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])


def _attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **given: Any,
) -> tuple[Tensor, None]:
    """Attend as ``sdpa`` does, or where the rows' bounds are given, within each row."""
    bounds = given.pop(BOUNDS, None)
    if bounds is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        told = {"dropout": dropout, "scaling": scaling, **given}
        return sdpa_attention_forward(module, query, key, value, attention_mask, **told)  # type: ignore[no-any-return]
    causal = getattr(module, "is_causal", True) and given.get("is_causal") is not False
    if not causal or any(given.get(name) is not None for name in UNKNOWN):
        raise NotImplementedError("an attention of a kind that rows end to end do not know")
    window = given.get("sliding_window")
    places = bounds.tolist()
    found = []
    with torch.autocast(query.device.type, enabled=False):
        for begin, end in pairwise(places):
            asked, seen, held = (of[:, :, begin:end].float() for of in (query, key, value))
            near = _near(end - begin, window) if window and end - begin > window else None
            found.append(
                scaled_dot_product_attention(
                    asked,
                    seen,
                    held,
                    attn_mask=near,
                    is_causal=near is None,
                    dropout_p=dropout,
                    scale=scaling,
                    enable_gqa=True,
                )
            )
    return torch.cat(found, 2).transpose(1, 2).to(query.dtype).contiguous(), None


def _near(length: int, window: int) -> Tensor:
    """Return (length, length), true where a token is seen: itself and the ``window`` - 1 before it."""
    return torch.ones(length, length, dtype=torch.bool).tril().triu(1 - window)


@torch.no_grad()
def _changes_nothing(model: PreTrainedModel) -> bool:
    """Whether three short rows end to end give the hidden states that each of them has alone."""
    was, vocabulary = model.training, model.get_input_embeddings().weight.shape[0]
    numbers = torch.arange(1, 25) * 7919 % vocabulary
    lengths = (9, 4, 11)
    rows = numbers.split(lengths)
    ids = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    model.eval()
    try:
        together = end_to_end(model, ids, mask).float()
        alone = torch.cat(
            [model.base_model(input_ids=row[None], use_cache=False).last_hidden_state[0] for row in rows]
        ).float()
    finally:
        model.train(was)
    # Another row's tokens change a hidden state by as much as it is large; rounding by far less.
    most = {torch.float32: 1e-3}.get(model.dtype, 0.1)
    return bool((together - alone).abs().max() <= most * alone.abs().max())
