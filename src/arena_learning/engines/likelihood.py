"""How likely a model finds an answer: its mean loss on the answer's tokens, after the instruction and without it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from arena_learning.core import without_progress_bars
from arena_learning.engines.base import Conversation, Refused
from arena_learning.engines.chat import Chat
from arena_learning.engines.chat_format import ChatFormat
from arena_learning.schema import Turn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# What stands in place of the instruction. Some templates refuse a conversation without a turn of the user.
_NOTHING = (Turn(role="user", content=""),)
_ROWS = 4  # sequences in one forward pass: the logits of four of 300 tokens take a quarter of a gigabyte
_SAVED = 32  # rows that are returned at once


class AnswerLoss(NamedTuple):
    """A model's mean negative log-likelihood of an answer's tokens and its end of turn, in nats a token.

    Attributes:
        after: after the instruction.
        alone: after an empty instruction, in the same chat template.
    """

    after: float
    alone: float


def answer_losses(
    folder: Path, rows: Sequence[tuple[Conversation, str]], *, trust_remote_code: bool = False
) -> Iterator[tuple[list[int], list[AnswerLoss | None]]]:
    """Yield the losses of the model in ``folder`` on answers, some rows at a time, the shortest first.

    Computed in fp32, on a GPU if there is one. What of an answer exceeds the model's context is cut off, of both losses
    the same.

    Args:
        folder: the model's folder (safetensors).
        rows: pairs of a conversation and the answer to it.
        trust_remote_code: run code that comes with the model.

    Yields:
        Numbers of rows, and the losses of these; None where the chat template does not take the conversation or does
        not write the answer, or where the conversation fills the context.

    Raises:
        ArenaError: there is no model in the folder.
    """
    encoder = _Encoder(folder, trust_remote_code)
    encoded = [encoder.encode(conversation, answer) for conversation, answer in rows]
    lengths = [len(one.prompt) + len(one.answer) if one else 0 for one in encoded]
    order = sorted(range(len(rows)), key=lambda n: (lengths[n], n))
    model: PreTrainedModel | None = None
    for start in range(0, len(order), _SAVED):
        numbers = order[start : start + _SAVED]
        known = [(n, one) for n in numbers if (one := encoded[n]) is not None]
        losses: dict[int, AnswerLoss] = {}
        if known:
            model = model or _load(folder, trust_remote_code)
            after = _mean_losses(model, [(one.prompt, one.answer) for _, one in known])
            alone = _mean_losses(model, [(encoder.nothing, one.answer) for _, one in known])
            losses = {n: AnswerLoss(*pair) for (n, _), *pair in zip(known, after, alone, strict=True)}
        yield numbers, [losses.get(n) for n in numbers]


class _Tokens(NamedTuple):
    prompt: list[int]
    answer: list[int]


class _Encoder:
    """Encodes conversation and answer as for training."""

    def __init__(self, folder: Path, trust_remote_code: bool) -> None:
        self._chat = Chat(folder, trust_remote_code=trust_remote_code)
        self._form = ChatFormat(self._chat)
        self.nothing = self._prompt(_NOTHING) or self._form.preamble_ids

    def encode(self, conversation: Conversation, answer: str) -> _Tokens | None:
        prompt, learnt = self._prompt(conversation), self._form.learn(answer)
        if prompt is None or learnt is None:
            return None
        room = self._chat.context - max(len(prompt), len(self.nothing))
        return _Tokens(prompt, learnt.answer[:room]) if room > 0 else None

    def _prompt(self, conversation: Conversation) -> list[int] | None:
        (prompt,) = self._chat.prompts([conversation], fitting=False)
        return None if isinstance(prompt, Refused) else [*prompt, *self._form.preamble_ids]


def _load(folder: Path, trust_remote_code: bool) -> PreTrainedModel:
    import torch
    from transformers import AutoModelForCausalLM

    with without_progress_bars():
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            str(folder),
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=trust_remote_code,
        )
    placed: Any = model.to("cuda" if torch.cuda.is_available() else "cpu")
    ready: PreTrainedModel = placed.eval()
    return ready


def _mean_losses(model: PreTrainedModel, rows: Sequence[tuple[list[int], list[int]]]) -> list[float]:
    """Return the mean loss of each row's second part after its first, in the rows' order."""
    losses: list[float] = []
    for start in range(0, len(rows), _ROWS):
        losses += _of_batch(model, rows[start : start + _ROWS])
    return losses


def _of_batch(model: PreTrainedModel, rows: Sequence[tuple[list[int], list[int]]]) -> list[float]:
    import torch

    whole = [prompt + answer for prompt, answer in rows]
    longest = max(map(len, whole))
    ids = torch.zeros((len(rows), longest), dtype=torch.long)
    mask, learnt = torch.zeros_like(ids), torch.zeros((len(rows), longest), dtype=torch.bool)
    for n, (row, (prompt, _)) in enumerate(zip(whole, rows, strict=True)):
        ids[n, : len(row)] = torch.tensor(row)
        mask[n, : len(row)] = 1
        learnt[n, len(prompt) : len(row)] = True
    learnt[:, 0] = False  # nothing predicts a sequence's first token
    ids, mask, learnt = (one.to(model.device) for one in (ids, mask, learnt))
    with torch.inference_mode():
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
    kept = learnt[:, 1:]
    means = (loss * kept).sum(dim=1) / kept.sum(dim=1).clamp(min=1)
    return [float(value) for value in means]
