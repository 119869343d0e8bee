"""The output layer on answers' tokens alone: TRL computes it at every token where its GPU kernel is missing.

On a CPU, TRL multiplies each token of the prompts and of the padding with the vocabulary, too, once more in the
backward pass, and there in fp32. That was two fifths of a step. On a GPU its kernel leaves prompts out already.
What is before the output layer computes no padding here, either (row_attention.py).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from arena_learning.train.frozen_states import hidden_states
from arena_learning.train.row_attention import rows_apart

if TYPE_CHECKING:
    from transformers import PreTrainedModel, Trainer

__all__: Sequence[str] = ("answer_tokens_alone", "has_answer_head", "token_figures")

TOKENS = 256  # whose logits are computed at once
KEPT = 1024  # the logits of more tokens are not kept for the backward pass, but computed again there
# A model that changes its logits in a way of its own keeps TRL's layer, which knows these ways.
OWN_LOGITS = (
    "final_logit_softcapping",
    "logit_scale",
    "logits_scaling",
    "output_multiplier",
    "lm_head_multiplier",
)
Figures = dict[str, Tensor]


def has_answer_head() -> bool:
    """Whether this version of TRL has an output layer on answers' tokens: from 1.16 on."""
    from trl.trainer import utils

    return hasattr(utils, "FusedCausalLMOutput")


def answer_tokens_alone(trainer: Trainer, temperature: float = 1.0) -> None:
    """Make a TRL trainer's models compute their output layer where a label is, and nowhere else.

    The reference does so, too: its probabilities are compared with the model's, bit by bit before the first step.

    The trainer's losses and logged figures stay what they are. Call it after TRL has prepared the model, and before
    the first step; a second call changes nothing. Nothing changes on a GPU, with a version of TRL that has no fused
    output layer, or with a model that scales its logits.

    Args:
        trainer: one of TRL's, whose model is called with ``fused_lm_head=True``.
        temperature: divides the logits.
    """
    if not has_answer_head():
        return
    from trl.trainer.utils import FusedCausalLMOutput

    for each in (trainer.model, getattr(trainer, "ref_model", None)):
        model = getattr(each, "get_base_model", lambda each=each: each)()  # without LoRA's wrapper
        if model is not None and model.device.type == "cpu" and not _has_own_logits(model):
            _take_over(model, trainer.accelerator.autocast, FusedCausalLMOutput, temperature)


def _take_over(
    model: PreTrainedModel,
    precision: Callable[[], AbstractContextManager[Any]],
    output: Callable[..., Any],
    temperature: float,
) -> None:
    if getattr(model, "scores_answers_alone", False):
        return
    apart = rows_apart(model)
    of_trl = model.forward

    @functools.wraps(of_trl)  # `generate` compares its arguments with the signature
    def forward(*args: Any, fused_lm_head: bool = False, **given: Any) -> Any:
        if not fused_lm_head or given.get("shift_labels") is not None or given.get("output_router_logits"):
            return of_trl(*args, fused_lm_head=fused_lm_head, **given)
        given["use_cache"] = False
        labels = given.pop("labels")[:, 1:]
        count = given.pop("num_items_in_batch", None)
        mask = labels != -100
        with (
            precision()
        ):  # accelerate has wrapped the reference's forward, which is replaced here, but not yet the model's
            if apart and not args and set(given) == {"input_ids", "attention_mask", "use_cache"}:
                before = _before_labels(given["attention_mask"], mask)
                hidden = hidden_states(model, given["input_ids"], given["attention_mask"])[before]
            else:
                hidden = model.base_model(*args, **given).last_hidden_state[:, :-1][mask]
            figures = token_figures(hidden, model.get_output_embeddings(), labels[mask], temperature)
        spread = {
            name: value.new_zeros(mask.shape).masked_scatter(mask, value) for name, value in figures.items()
        }
        loss = -spread["log_probs"].sum() / (mask.sum().clamp(min=1) if count is None else count)
        return output(loss=loss, label_mask=mask, **spread)

    model.forward = forward
    model.scores_answers_alone = True


def _before_labels(attention_mask: Tensor, mask: Tensor) -> Tensor:
    """Return the places, among all rows' own tokens, of the tokens before those that have a label.

    Before a row's first token, behind padding on the left, stands another row's: what it predicts is read by nobody, as
    what TRL predicts from the padding there.
    """
    own = attention_mask.bool()
    places = own.flatten().cumsum(0).view_as(own) - 1
    return places[:, :-1][mask]


def _has_own_logits(model: PreTrainedModel) -> bool:
    config = model.config.get_text_config()
    return any(getattr(config, name, None) is not None for name in OWN_LOGITS)


def token_figures(
    hidden: Tensor, head: Callable[[Tensor], Tensor], labels: Tensor, temperature: float = 1.0
) -> Figures:
    """Return figures of each token's prediction.

    Args:
        hidden: (tokens, width), before the output layer.
        head: the output layer.
        labels: (tokens,), the token that follows each.
        temperature: divides the logits.

    Returns:
        Each (tokens,): ``log_probs`` of the labels; without a gradient ``entropy`` (in nats), ``log_sum_sq_probs``,
        ``mean_logits``, and ``is_top1`` (whether the label is the likeliest token).
    """
    parts: list[Figures] = []
    for begin in range(0, max(len(labels), 1), TOKENS):
        part = hidden[begin : begin + TOKENS], labels[begin : begin + TOKENS]
        again = len(labels) > KEPT and hidden.requires_grad
        compute = functools.partial(_figures, head=head, temperature=temperature)
        parts.append(checkpoint(compute, *part, use_reentrant=False) if again else compute(*part))
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _figures(hidden: Tensor, labels: Tensor, head: Callable[[Tensor], Tensor], temperature: float) -> Figures:
    logits = head(hidden).float() / temperature
    every = logits.log_softmax(-1)
    log_probs = every.gather(-1, labels[:, None])[:, 0]
    with torch.no_grad():
        probabilities = every.exp()
        return {
            "log_probs": log_probs,
            "entropy": -torch.einsum("tv,tv->t", probabilities, every),
            "log_sum_sq_probs": torch.einsum("tv,tv->t", probabilities, probabilities).log(),
            "mean_logits": logits.mean(-1),
            "is_top1": every.argmax(-1) == labels,
        }
