"""One PPO update: what the models say of sampled responses, and the steps that follow from it.

An update is a function of the weights, the optimisers and the samples: it draws nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from arena_learning.train.ppo import objective
from arena_learning.train.ppo.models import Policy, Read, Scorer, lay_out
from arena_learning.train.rollout import Sample, in_groups

if TYPE_CHECKING:
    from accelerate import Accelerator

Groups = Sequence[list[int]]
SCORED = 8  # samples that a scorer reads at once, where a micro-batch is not larger: it has no vocabulary


class UpdateRules(NamedTuple):
    """How updates are made.

    Attributes:
        kl: coefficient of the divergence from the reference.
        missing_eos_penalty: taken off the score of a response that did not end.
        passes: optimiser steps on a batch of samples.
        rows: samples in a micro-batch, forward and backward.
        max_norm: of each model's gradients (inf: any).
        micro_batch_means: weigh every micro-batch the same, as TRL does; else every token of the batch, so that how
            a batch is split changes nothing but rounding.
    """

    kl: float
    missing_eos_penalty: float
    passes: int = 1
    rows: int = 1
    max_norm: float = 1.0
    micro_batch_means: bool = False


class Learner(NamedTuple):
    """A model that is trained, as accelerate has prepared it, with its optimiser and schedule."""

    name: str
    module: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler


class Frozen(NamedTuple):
    """A model that is not trained, and the context that it is read in (adapters off, where it shares weights)."""

    module: Policy | Scorer
    context: Callable[[], AbstractContextManager[object]] = nullcontext


class Experience(NamedTuple):
    """Samples and what is known of them before the first step; see `objective` for rows and columns."""

    samples: Sequence[Sample]
    masks: objective.Masks
    log_probs: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor


class Trainer:
    """Makes updates.

    Args:
        accelerator: precision, device, and the other processes.
        learners: the policy, and the value model where it is one of its own.
        reference: the start.
        reward: the reward model.
        rules: how.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        learners: Sequence[Learner],
        reference: Frozen,
        reward: Frozen,
        rules: UpdateRules,
    ) -> None:
        self.accelerator, self.learners, self.rules = accelerator, learners, rules
        self.reference, self.reward = reference, reward
        # Shared by all accelerators of a process: a training that was broken off may have left it at False.
        accelerator.sync_gradients = True

    def update(self, samples: Sequence[Sample]) -> dict[str, float]:
        """Learn from one batch of samples (this process's share) and return the figures of the whole batch."""
        experience, figures = self.judge(samples)
        groups = _by_length(samples, self.rules.rows)
        return figures | self.learn(experience, [groups] * self.rules.passes)

    @torch.no_grad()
    def judge(self, samples: Sequence[Sample]) -> tuple[Experience, dict[str, float]]:
        """Return what is known of samples before the first step, and the figures of it."""
        device = self.accelerator.device
        known = [self._read_all(learner.module, samples) for learner in self.learners]
        log_probs = next(read.log_probs for read in known if read.log_probs is not None)
        values = next(read.values for read in known if read.values is not None)
        with self.accelerator.autocast(), self.reference.context():
            reference = self._read_all(self.reference.module, samples).log_probs
        with self.accelerator.autocast(), self.reward.context():
            scored = self._read_all(self.reward.module, samples).values
        assert reference is not None
        assert scored is not None
        lengths = torch.tensor([len(sample.response) for sample in samples], device=device)
        ended = torch.tensor([sample.ended for sample in samples], device=device)
        # What a scorer says behind the last token is the response's score.
        scores = scored.gather(1, lengths[:, None]).squeeze(1) - self.rules.missing_eos_penalty * ~ended
        masks = objective.masks(lengths, ended, log_probs.shape[1])
        values = torch.where(masks.states, values, 0.0)
        kl = self.rules.kl
        rewards, divergence = objective.token_rewards(log_probs, reference, scores, lengths, ended, kl)
        advantages = objective.estimate_advantages(rewards, values)
        white = objective.whiten(advantages[:, :-1], masks.actions, self._sum)
        experience = Experience(samples, masks, log_probs, values, white, advantages + values)
        entropy = -torch.where(masks.actions, log_probs, 0.0).sum(1)
        columns = [divergence, entropy, scores, scores - kl * divergence, ended, torch.ones_like(scores)]
        *means, ends, rows = self._sum(torch.stack([column.float().sum() for column in columns])).tolist()
        named = zip(("kl", "entropy", "reward", "reward_less_kl"), means, strict=True)
        return experience, {name: value / rows for name, value in named} | {"ended": ends}

    def learn(self, experience: Experience, passes: Sequence[Groups]) -> dict[str, float]:
        """Take a step for each of ``passes``, given as micro-batches of rows; return the means over them."""
        rates = [float(learner.schedule.get_last_lr()[0]) for learner in self.learners]
        figures: dict[str, float] = defaultdict(float)
        for groups in passes:
            # One model after the other: their gradients and activations are never held at the same time.
            for learner in self.learners:
                for name, value in self._step(learner, experience, groups).items():
                    figures[name] += value / len(passes)
        for learner in self.learners:
            learner.schedule.step()
        return dict(figures) | {"lr": rates[0]}

    def _step(self, learner: Learner, experience: Experience, groups: Groups) -> dict[str, float]:
        """Take one optimiser step over micro-batches."""
        totals = [self._share(mask, groups) for mask in experience.masks]
        figures: dict[str, Tensor] = {}
        for number, rows in enumerate(groups):
            last = number == len(groups) - 1
            with nullcontext() if last else self.accelerator.no_sync(learner.module):
                loss, seen = self._losses(learner.module, experience, rows, [of[number] for of in totals])
                self.accelerator.backward(loss)
            for name, value in seen.items():
                figures[name] = figures.get(name, torch.zeros_like(value)) + value
        if self.rules.max_norm != float("inf"):
            self.accelerator.clip_grad_norm_(learner.module.parameters(), self.rules.max_norm)
        learner.optimizer.step()
        learner.optimizer.zero_grad(set_to_none=True)
        # Each process has divided by its mean share of the batch.
        return {name: float(self._sum(value)) / self._processes for name, value in figures.items()}

    def _losses(
        self, module: nn.Module, experience: Experience, rows: list[int], totals: Sequence[float]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return a micro-batch's part of the loss, and of the figures."""
        read: Read = module(lay_out([experience.samples[row] for row in rows], self.accelerator.device))
        loss, seen = torch.zeros((), device=self.accelerator.device), {}
        if read.log_probs is not None:
            width = read.log_probs.shape[1]
            old, advantages = experience.log_probs[rows, :width], experience.advantages[rows, :width]
            mask = experience.masks.actions[rows, :width]
            policy = objective.policy_loss(read.log_probs, old, advantages, mask, totals[0])
            loss = loss + policy.loss
            seen = {"loss": policy.loss, "approx_kl": policy.change}
            seen |= {"clip_fraction": policy.clipped, "val/ratio": policy.ratio}
        if read.values is not None:
            width = read.values.shape[1]
            old, returns = experience.values[rows, :width], experience.returns[rows, :width]
            mask = experience.masks.states[rows, :width]
            value = objective.value_loss(read.values, old, returns, mask, totals[1])
            loss = loss + objective.VALUE_WEIGHT * value.loss
            seen |= {"value_loss": value.loss, "val/clipfrac_avg": value.clipped}
        return loss, {name: value.detach() for name, value in seen.items()}

    def _share(self, mask: Tensor, groups: Groups) -> list[float]:
        """Return what each micro-batch's sum over ``mask`` is divided by."""
        if self.rules.micro_batch_means:
            return [len(groups) * float(mask[rows].sum()) for rows in groups]
        # Gradients are means over processes: the batch's count is shared out evenly.
        return [float(self._sum(mask.sum())) / self._processes] * len(groups)

    def _read_all(self, module: nn.Module, samples: Sequence[Sample]) -> Read:
        """Read samples in micro-batches, each as wide as it must be, and return one result of the widest's width."""
        device = self.accelerator.device
        found: dict[str, Tensor] = {}
        width = max(len(sample.response) for sample in samples)
        # A policy reads what it will read when it is trained: its ratio is then 1 to the bit at the first step.
        plain = self.accelerator.unwrap_model(module)
        size = max(SCORED, self.rules.rows) if isinstance(plain, Scorer) else self.rules.rows
        for rows in _by_length(samples, size):
            read: Read = module(lay_out([samples[row] for row in rows], device))
            for name, part in read._asdict().items():
                if part is None:
                    continue
                whole = torch.zeros(len(samples), width + (name == "values"), device=device)
                found.setdefault(name, whole)[rows, : part.shape[1]] = part.float()
        return Read(found.get("log_probs"), found.get("values"))

    def _sum(self, tensor: Tensor) -> Tensor:
        total: Tensor = self.accelerator.reduce(tensor, reduction="sum")
        return total

    @property
    def _processes(self) -> int:
        return int(self.accelerator.num_processes)


def _by_length(samples: Sequence[Sample], size: int) -> list[list[int]]:
    """Return the places of samples in groups of like length: little of a group is padding."""
    return list(in_groups([len(sample.prompt) + len(sample.response) for sample in samples], size))
