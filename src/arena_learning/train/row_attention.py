"""Rows end to end in one sequence, each attending to itself alone: nothing is spent on padding, or on a prefix twice.

A batch padded to its longest row computes the padding, too, and small batches cast the weights to bf16 once more
each. As one sequence, a whole step takes one forward pass. transformers would mask the other rows and compute them
nevertheless; here each row is attended to by itself, in fp32, which flash attention on a CPU is faster in than in
bf16.

Rows often begin alike: all have the chat template's system message, the two answers of a pair one prompt, a group of
samples, too. A token's states depend on the tokens before it alone, so such a beginning stands in the sequence once,
and each row attends to it. The gradients of all rows add up there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from arena_learning.core import logger

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__: Sequence[str] = ("Laid", "end_to_end", "lay_batch", "reads_end_to_end", "rows_apart", "run_body")

NAME = "rows_end_to_end"
# A sequence's length is a multiple of it: for each length, oneDNN makes and keeps products of its own (37 MB a step).
MULTIPLE = 32
SHARED = 8  # rows that have fewer first tokens in common share none: a row in two parts takes a mask
LAYOUT = "end_to_end_layout"  # the argument that carries a `Layout` through the model to `_attend`
KINDS = {"full_attention", "sliding_attention"}
# What an attention may be told besides, and this one does not know.
UNKNOWN = ("softcap", "s_aux", "position_bias", "head_mask")


class Layout(NamedTuple):
    """Where the tokens of rows are in one sequence.

    Attributes:
        sizes: how many tokens of each row stand in the sequence, one row after the other: those that no earlier row
            has in common with it.
        parts: of each row, the pieces that give all of its tokens: another row or itself, and how many of that row's
            tokens in the sequence, from the first of them on.
    """

    sizes: list[int]
    parts: list[list[tuple[int, int]]]

    def places(self) -> list[int]:
        """Return the places in the sequence of all rows' tokens, one row after the other."""
        begins = [0]
        for size in self.sizes:
            begins.append(begins[-1] + size)
        return [
            begins[row] + number for parts in self.parts for row, count in parts for number in range(count)
        ]


def lay_end_to_end(rows: Sequence[Sequence[int]]) -> Layout:
    """Lay rows of token ids end to end, each beginning that rows have in common once.

    Example:
        >>> system, question = [1] * 10, [2] * 20
        >>> lay_end_to_end([system + question + [3], system + [4, 4], system + question + [5]])
        Layout(sizes=[31, 2, 1], parts=[[(0, 31)], [(0, 10), (1, 2)], [(0, 30), (2, 1)]])
    """
    sizes: list[int] = []
    parts: list[list[tuple[int, int]]] = []
    for number, row in enumerate(rows):
        like, common = max(
            ((other, _common(rows[other], row)) for other in range(number)),
            key=lambda found: found[1],
            default=(0, 0),
        )
        if common < SHARED:
            common = 0
        own = len(row) - common
        parts.append(
            [*_first(parts[like], common), *([(number, own)] if own else [])] if common else [(number, own)]
        )
        sizes.append(own)
    return Layout(sizes, parts)


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many first tokens two rows have in common."""
    shorter = min(len(one), len(other))
    return next((place for place in range(shorter) if one[place] != other[place]), shorter)


def _first(parts: Sequence[tuple[int, int]], count: int) -> list[tuple[int, int]]:
    """Return the parts that give the first ``count`` tokens."""
    found = []
    for row, size in parts:
        taken = min(size, count)
        if taken:
            found.append((row, taken))
        count -= taken
    return found


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


def reads_end_to_end(model: PreTrainedModel) -> bool:
    """Whether `rows_apart` has made a model ready."""
    return bool(model.config.get_text_config()._attn_implementation == NAME)


class Laid(NamedTuple):
    """A batch as one sequence.

    Attributes:
        rows: the token ids of each row.
        layout: where they are; a last row may fill the sequence up, and is nobody's.
        ids: (1, tokens) of the sequence.
        positions: the same shape, each token's place in its row.
        places: the places in the sequence of all rows' tokens, one row after the other.
    """

    rows: list[list[int]]
    layout: Layout
    ids: Tensor
    positions: Tensor
    places: Tensor


def lay_batch(input_ids: Tensor, attention_mask: Tensor) -> Laid:
    """Lay a padded batch end to end, without its padding; see `end_to_end`."""
    own = attention_mask.bool()
    rows = [row[mask].tolist() for row, mask in zip(input_ids, own, strict=True)]
    laid = lay_end_to_end(rows)
    places = torch.tensor(laid.places(), device=input_ids.device)
    more = -sum(laid.sizes) % MULTIPLE
    ids = [token for row, size in zip(rows, laid.sizes, strict=True) for token in row[len(row) - size :]]
    positions = [
        n for row, size in zip(rows, laid.sizes, strict=True) for n in range(len(row) - size, len(row))
    ]
    if more:  # a row of its own, and nobody's
        laid = Layout([*laid.sizes, more], [*laid.parts, [(len(rows), more)]])
    return Laid(
        rows,
        laid,
        input_ids.new_tensor([ids + [0] * more]),
        input_ids.new_tensor([positions + list(range(more))]),
        places,
    )


def run_body(model: PreTrainedModel, batch: Laid) -> Tensor:
    """Return the body's hidden states of a sequence's tokens, (1, tokens, width)."""
    out = model.base_model(
        input_ids=batch.ids, position_ids=batch.positions, use_cache=False, **{LAYOUT: batch.layout}
    )
    hidden: Tensor = out.last_hidden_state
    return hidden


def end_to_end(model: PreTrainedModel, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """Return what the model's body computes for a padded batch, computed without the padding.

    Args:
        model: one that `rows_apart` has made ready.
        input_ids: (rows, tokens), padded on any side.
        attention_mask: the same shape, 1 at a row's own tokens.

    Returns:
        (the rows' own tokens, width): the rows' hidden states, one row after the other.
    """
    batch = lay_batch(input_ids, attention_mask)
    return run_body(model, batch)[0, batch.places]


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
    """Attend as ``sdpa`` does, or where the rows' layout is given, within each row."""
    laid: Layout | None = given.pop(LAYOUT, None)
    if laid is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        told = {"dropout": dropout, "scaling": scaling, **given}
        return sdpa_attention_forward(module, query, key, value, attention_mask, **told)  # type: ignore[no-any-return]
    causal = getattr(module, "is_causal", True) and given.get("is_causal") is not False
    if not causal or any(given.get(name) is not None for name in UNKNOWN):
        raise NotImplementedError("an attention of a kind that rows end to end do not know")
    window: int | None = given.get("sliding_window")
    found = []
    with torch.autocast(query.device.type, enabled=False):
        # Split, because the gradient of a slice is as long as the whole sequence.
        queries, keys, values = (torch.split(of.float(), laid.sizes, 2) for of in (query, key, value))
        for number, (asked, parts) in enumerate(zip(queries, laid.parts, strict=True)):
            own, length = laid.sizes[number], sum(count for _, count in parts)
            if not own:  # the same row stands there already
                continue
            reach = min(window or length, length)
            whole = own == length == reach
            near = None if whole else _near(length, reach)[length - own :]
            found.append(
                scaled_dot_product_attention(
                    asked,
                    _joined(keys, parts),
                    _joined(values, parts),
                    attn_mask=near,
                    is_causal=near is None,
                    dropout_p=dropout,
                    scale=scaling,
                    enable_gqa=True,
                )
            )
    return torch.cat(found, 2).transpose(1, 2).to(query.dtype).contiguous(), None


def _joined(pieces: Sequence[Tensor], parts: Sequence[tuple[int, int]]) -> Tensor:
    """Return the keys or values of a row's tokens, (1, heads, tokens, width), from those of its parts."""
    taken = [pieces[row][:, :, :count] for row, count in parts]
    return taken[0] if len(taken) == 1 else torch.cat(taken, 2)


def _near(length: int, window: int) -> Tensor:
    """Return (length, length), true where a token is seen: itself and the ``window`` - 1 before it."""
    return torch.ones(length, length, dtype=torch.bool).tril().triu(1 - window)


@torch.no_grad()
def _changes_nothing(model: PreTrainedModel) -> bool:
    """Whether short rows end to end, two of which begin alike, give the hidden states that each of them has alone."""
    was, vocabulary = model.training, model.get_input_embeddings().weight.shape[0]
    numbers = torch.arange(1, 37) * 7919 % vocabulary
    first, second, third, more = numbers.split((SHARED + 3, 4, 11, 36 - SHARED - 18))
    rows = (first, second, torch.cat([first[:SHARED], more]), third)
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
