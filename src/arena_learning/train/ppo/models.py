"""PPO's models as it asks them: what a policy gives the sampled tokens, what a scorer gives each state.

Logits never leave a forward pass: what comes out is a number a token. So what is held of the vocabulary's size is one
micro-batch's.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from arena_learning.train.rollout import Sample


class Tokens(NamedTuple):
    """Samples side by side: prompts end, and responses begin, in the same column.

    Attributes:
        ids: (rows, prompt + width) token ids; 0 where there is none.
        mask: 1 where there is a token.
        responses: (rows, width), the end of ``ids``.
    """

    ids: Tensor
    mask: Tensor
    responses: Tensor


class Read(NamedTuple):
    """What a forward pass gives: log-probabilities (rows, width), values (rows, width + 1), in fp32; or None."""

    log_probs: Tensor | None
    values: Tensor | None


def lay_out(samples: Sequence[Sample], device: torch.device) -> Tokens:
    """Return samples as tensors no wider than they need."""
    front = max(len(sample.prompt) for sample in samples)
    width = max(len(sample.response) for sample in samples)
    ids = torch.zeros(len(samples), front + width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, sample in enumerate(samples):
        begin, end = front - len(sample.prompt), front + len(sample.response)
        ids[row, begin:end] = torch.tensor(sample.prompt + sample.response)
        mask[row, begin:end] = 1
    ids = ids.to(device)
    return Tokens(ids, mask.to(device), ids[:, front:])


class Policy(nn.Module):
    """A causal language model that gives the log-probabilities of sampled tokens, and with a ``head`` values, too.

    Args:
        model: the language model.
        temperature: of the distribution that is sampled and trained.
        never: a token that is never sampled, so that it has no share in the distribution.
        head: from the last hidden state to a value.
    """

    def __init__(
        self, model: PreTrainedModel, temperature: float, never: int | None, head: nn.Linear | None = None
    ) -> None:
        super().__init__()
        self.model, self.temperature, self.never, self.head = model, temperature, never, head
        plain = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.cuts = "logits_to_keep" in inspect.signature(plain.forward).parameters
        # A slice of the hidden states is not contiguous: the head's gradient would be made once for each row.
        plain.get_output_embeddings().register_forward_pre_hook(lambda _, inputs: (inputs[0].contiguous(),))

    def forward(self, tokens: Tokens) -> Read:
        """Read samples."""
        kept = tokens.responses.shape[1] + 1
        some = {"logits_to_keep": kept} if self.cuts else {}
        wide = self.head is not None
        out = self.model(**_inputs(tokens), use_cache=False, output_hidden_states=wide, **some)
        # From the prompt's last token on. What follows a response is nobody's: to cut it off would copy the logits.
        logits = out.logits if out.logits.shape[1] == kept else out.logits[:, -kept:]
        following = torch.nn.functional.pad(tokens.responses, (0, 1))
        values = _score(self.head, out.hidden_states[-1][:, -kept:]) if self.head is not None else None
        return Read(self._log_probs(logits, following)[:, :-1], values)

    def _log_probs(self, logits: Tensor, chosen: Tensor) -> Tensor:
        """Return log-probabilities of (rows, width) tokens. Overwrites ``logits``: a copy is what memory goes to."""
        if self.temperature != 1.0:
            logits = logits.div_(self.temperature)
        if self.never is not None:
            with torch.no_grad():  # its own gradient is 0 then, as it must be
                logits[..., self.never] = -torch.inf
        found = []
        for row, tokens in zip(logits, chosen, strict=True):
            wide = row.float()
            found.append(wide.gather(-1, tokens[:, None]).squeeze(-1) - wide.logsumexp(-1))
        return torch.stack(found)


class Scorer(nn.Module):
    """A sequence classifier of one output that gives a value to each state: a reward model, or a value model.

    Args:
        model: the classifier.
        head: its score, if it is not the classifier's own.
    """

    def __init__(self, model: PreTrainedModel, head: nn.Module | None = None) -> None:
        super().__init__()
        self.model, self.head = model, head

    def forward(self, tokens: Tokens) -> Read:
        """Read samples."""
        backbone = getattr(self.model, self.model.base_model_prefix)
        hidden = backbone(**_inputs(tokens), use_cache=False).last_hidden_state
        return Read(None, _score(self.head or self.model.score, hidden[:, -tokens.responses.shape[1] - 1 :]))


def _inputs(tokens: Tokens) -> dict[str, Tensor]:
    positions = (tokens.mask.cumsum(1) - 1).clamp(min=0)
    return {"input_ids": tokens.ids, "attention_mask": tokens.mask, "position_ids": positions}


def _score(head: nn.Module, hidden: Tensor) -> Tensor:
    """Return the values of hidden states, in fp32 whatever the precision: bf16 would round a score to two digits."""
    wide = {name: weight.float() for name, weight in head.named_parameters()}
    with torch.autocast(hidden.device.type, enabled=False):
        values: Tensor = torch.func.functional_call(head, wide, hidden.float()).squeeze(-1)
    return values
