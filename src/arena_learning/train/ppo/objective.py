"""The arithmetic of PPO on tensors: rewards, advantages and clipped losses.

Proximal policy optimisation as in Schulman et al. (arXiv 1707.06347), on token sequences as in Ziegler et al.
(arXiv 1909.08593). Rows are responses. Column ``t`` of an action is response token ``t``; column ``t`` of a state is
what has been read before that token. A response that ends has one state more, behind its end: the score stands there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

CLIP = 0.2  # of the policy's ratio, and of the value's change
VALUE_WEIGHT = 0.1
DISCOUNT = 1.0
DECAY = 0.95  # lambda of generalised advantage estimation

Reduce = Callable[[Tensor], Tensor]


class Masks(NamedTuple):
    """Which columns of a batch are real.

    Attributes:
        actions: (rows, width): response tokens.
        states: (rows, width + 1): states that have a value.
    """

    actions: Tensor
    states: Tensor


class Loss(NamedTuple):
    """A loss and what is watched of it, each divided by the caller's number of tokens.

    Attributes:
        loss: the clipped loss.
        clipped: share of tokens where the clipped term is the larger one.
        ratio: new probability over old (1 for a value loss).
        change: half the squared change of the log-probability (0 for a value loss).
    """

    loss: Tensor
    clipped: Tensor
    ratio: Tensor
    change: Tensor


def masks(lengths: Tensor, ended: Tensor, width: int) -> Masks:
    """Return the masks of responses.

    Args:
        lengths: (rows,): tokens of each response, its end counted in; at least 1.
        ended: (rows,): whether it ended by itself.
        width: of the widest response.
    """
    column = torch.arange(width + 1, device=lengths.device)
    return Masks(column[:-1] < lengths[:, None], column < (lengths + ended.long())[:, None])


def token_rewards(
    log_probs: Tensor, reference: Tensor, scores: Tensor, lengths: Tensor, ended: Tensor, kl: float
) -> tuple[Tensor, Tensor]:
    """Return each state's reward (rows, width + 1) and each response's divergence from the reference (rows,).

    A token's reward is ``-kl`` times its log-ratio to the reference. The score is added behind the end of a response,
    or at the last token of one that did not end.

    Args:
        log_probs: (rows, width): of the policy that sampled, in nats.
        reference: (rows, width): of the reference.
        scores: (rows,): the reward model's, penalties taken off.
        lengths: see `masks`.
        ended: see `masks`.
        kl: the coefficient.
    """
    actions = masks(lengths, ended, log_probs.shape[1]).actions
    divergence = torch.where(actions, log_probs - reference, 0.0)
    rewards = torch.nn.functional.pad(-kl * divergence, (0, 1))
    place = torch.where(ended, lengths, lengths - 1)
    rewards[torch.arange(len(rewards), device=rewards.device), place] += scores
    return rewards, divergence.sum(1)


def estimate_advantages(
    rewards: Tensor, values: Tensor, discount: float = DISCOUNT, decay: float = DECAY
) -> Tensor:
    """Return generalised advantages (Schulman et al., arXiv 1506.02438) of (rows, states) rewards and values.

    Both are 0 where a state is not real. ``advantages + values`` are the returns that a value model learns.
    """
    advantages = torch.zeros_like(rewards)
    following, later = torch.zeros_like(rewards[:, 0]), torch.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        later = rewards[:, t] + discount * following - values[:, t] + discount * decay * later
        following = values[:, t]
        advantages[:, t] = later
    return advantages


def whiten(values: Tensor, mask: Tensor, reduce: Reduce = lambda total: total) -> Tensor:
    """Return ``values`` with mean 0 and (unbiased) variance 1 over ``mask``, and 0 elsewhere.

    Args:
        values: any shape.
        mask: of the same shape. Where it holds one value, or equal ones, these become 0.
        reduce: sums a tensor over all processes.
    """
    held = torch.where(mask, values, 0.0)
    count, total = reduce(torch.stack([mask.sum().to(values.dtype), held.sum()]))
    centred = torch.where(mask, held - total / count, 0.0)
    variance = reduce(centred.square().sum()) / (count - 1).clamp(min=1)
    return centred * torch.rsqrt(variance + 1e-8)


def policy_loss(new: Tensor, old: Tensor, advantages: Tensor, mask: Tensor, tokens: Tensor | float) -> Loss:
    """Return PPO's clipped policy loss.

    Args:
        new: (rows, width): log-probabilities of the policy that is trained.
        old: of the policy that sampled.
        advantages: whitened.
        mask: which tokens are real.
        tokens: what the sum over tokens is divided by (those of the whole batch, where it is one of its parts).
    """
    change = torch.where(mask, new - old, 0.0)
    ratio = change.exp()
    plain, clipped = -advantages * ratio, -advantages * ratio.clamp(1 - CLIP, 1 + CLIP)
    with torch.no_grad():
        share = ((clipped > plain) & mask).sum() / tokens
        watched = (ratio * mask).sum() / tokens, 0.5 * change.square().sum() / tokens
    return Loss((torch.maximum(plain, clipped) * mask).sum() / tokens, share, *watched)


def value_loss(new: Tensor, old: Tensor, returns: Tensor, mask: Tensor, states: Tensor | float) -> Loss:
    """Return half the squared error of the values, which may leave the ``old`` ones by `CLIP` without gaining.

    Args:
        new: (rows, states): of the value model that is trained.
        old: as they were when the batch was sampled.
        returns: what is learnt.
        mask: which states are real.
        states: what the sum over states is divided by.
    """
    plain = (new - returns).square()
    clipped = (new.clamp(old - CLIP, old + CLIP) - returns).square()
    share = ((clipped > plain) & mask).sum() / states
    loss = 0.5 * (torch.maximum(plain, clipped) * mask).sum() / states
    return Loss(loss, share.detach(), torch.ones_like(share), torch.zeros_like(share))
