"""Rollouts: a policy answers prompts in this process, in batches with a key-value cache, by numbers drawn beforehand.

Each response's numbers are its own, so what is sampled depends on the seed and the prompt's place alone: not on how
many prompts are answered at once, nor on what was sampled before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache, GenerationConfig, LogitsProcessor, LogitsProcessorList, PreTrainedModel

from arena_learning.train.decode import (
    cache_name,
    cache_prompts,
    continue_prompts,
    decodes_here,
    packed,
    repeats_cache,
)
from arena_learning.train.freeze import cast_once

ORDER, DRAW = 0, 1  # what a seed is split for
# Responses sampled at once, where a micro-batch is not larger: each holds a row of logits and its key-value cache.
ROLLOUT = 8


class Sample(NamedTuple):
    """A prompt, its sampled response (with its end, if it has one), and whether it ended."""

    prompt: list[int]
    response: list[int]
    ended: bool


def drawn_numbers(seed: int, update: int, rows: int, width: int) -> Tensor:
    """Return (rows, width) numbers in [0, 1) for the responses of an update."""
    return torch.from_numpy(np.random.default_rng([seed, DRAW, update]).random((rows, width)))


def prompts_of(update: int, batch: int, count: int, seed: int) -> list[int]:
    """Return which of ``count`` prompts an update takes: passes over all of them, each in an order of its own.

    Updates count from 0. A batch may begin in one pass and end in the next.
    """
    orders: dict[int, list[int]] = {}
    chosen = []
    for place in range(update * batch, (update + 1) * batch):
        number, index = divmod(place, count)
        if number not in orders:
            orders[number] = np.random.default_rng([seed, ORDER, number]).permutation(count).tolist()
        chosen.append(orders[number][index])
    return chosen


def in_groups(lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Yield the places of rows in groups of at most ``size``, like lengths together, the longest first."""
    ordered = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    for begin in range(0, len(ordered), size):
        yield ordered[begin : begin + size]


class Chooser(LogitsProcessor):  # type: ignore[misc]  # transformers is untyped here
    """Chooses each row's next token by its next drawn number, and leaves no other token a chance.

    Args:
        numbers: (rows, tokens) in [0, 1).
        begin: the column of the first response token.
        temperature: of the distribution.
        never: a token that is never chosen.
    """

    def __init__(self, numbers: Tensor, begin: int, temperature: float, never: int | None) -> None:
        self.numbers, self.begin, self.temperature, self.never = numbers, begin, temperature, never

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return scores that are 0 at the chosen token and -inf elsewhere."""
        chosen = self.chosen(scores, self.numbers[:, input_ids.shape[1] - self.begin])
        return torch.full_like(scores, -torch.inf, dtype=torch.float32).scatter_(1, chosen[:, None], 0.0)

    def after(self, scores: Tensor, rows: Tensor, tokens: int) -> Tensor:
        """Return each row's next token behind ``tokens`` others, from (rows, vocabulary) scores of these rows."""
        return self.chosen(scores, self.numbers[rows, tokens])

    def chosen(self, scores: Tensor, numbers: Tensor) -> Tensor:
        """Return (rows,) tokens, chosen from (rows, vocabulary) scores by (rows,) numbers."""
        scores = scores.float() if self.temperature == 1 else scores.float() / self.temperature
        if self.never is not None:
            scores[:, self.never] = -torch.inf
        # In double precision, for a vocabulary's sum in fp32 is off by more than its rare tokens weigh.
        below = scores.softmax(-1).cumsum(-1, dtype=torch.double)
        place = numbers[:, None] * below[:, -1:]
        return torch.searchsorted(below, place, right=True)[:, 0].clamp(max=scores.shape[1] - 1)


@torch.no_grad()
def answer(
    model: PreTrainedModel,
    prompts: Sequence[list[int]],
    numbers: Tensor,
    *,
    temperature: float,
    end: int,
    pad: int,
    rows: int,
    copies: int = 1,
) -> list[Sample]:
    """Return sampled responses to each prompt.

    Args:
        model: the policy.
        prompts: token ids.
        numbers: (prompts x copies, longest response), see `drawn_numbers`.
        temperature: of the samples.
        end: the token that ends a response.
        pad: a token that stands in no conversation: it is never sampled.
        rows: responses sampled at once.
        copies: responses to each prompt, which is read once for all of them.

    Returns:
        The responses, those to a prompt side by side.
    """
    samples: dict[int, Sample] = {}
    config = GenerationConfig(
        max_new_tokens=numbers.shape[1],
        do_sample=False,
        use_cache=True,
        eos_token_id=end,
        pad_token_id=pad,
    )
    for places in in_groups([len(prompt) for prompt in prompts], max(1, rows // copies)):
        front = max(len(prompts[place]) for place in places)
        ids = torch.tensor([[pad] * (front - len(prompts[p])) + prompts[p] for p in places]).to(model.device)
        mask = torch.tensor([[0] * (front - len(prompts[p])) + [1] * len(prompts[p]) for p in places])
        mask = mask.to(model.device)
        drawn = [place * copies + copy for place in places for copy in range(copies)]
        chooser = Chooser(numbers[drawn].to(model.device), front, temperature, pad)
        repeats = repeats_cache(model)
        if decodes_here(model) and min(len(prompts[place]) for place in places) > 1:
            with cast_once(model):
                cache = cache_prompts(model, ids[:, :-1], mask[:, :-1], copies)
                with packed(model):
                    said = continue_prompts(
                        model,
                        cache,
                        ids,
                        mask,
                        chooser.after,
                        longest=numbers.shape[1],
                        copies=copies,
                        end=end,
                    )
            for place, response in zip(drawn, said, strict=True):
                samples[place] = Sample(prompts[place // copies], response, response[-1] == end)
            continue
        read: dict[str, DynamicCache] = {}
        if copies > 1 and front > 1 and repeats:
            read = {cache_name(): cache_prompts(model, ids[:, :-1], mask[:, :-1], copies)}
        with cast_once(model):
            out = model.generate(
                input_ids=ids.repeat_interleave(copies, 0),
                attention_mask=mask.repeat_interleave(copies, 0),
                generation_config=config,
                logits_processor=LogitsProcessorList([chooser]),
                **read,
            )
        for place, row in zip(drawn, out[:, front:].tolist(), strict=True):
            response = row[: row.index(end) + 1] if end in row else row
            samples[place] = Sample(prompts[place // copies], response, end in row)
    return [samples[place] for place in range(len(prompts) * copies)]
