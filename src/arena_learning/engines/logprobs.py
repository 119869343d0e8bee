"""Records the most probable tokens at each position while transformers generates an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from arena_learning.engines.base import Token


class TopLogprobs:
    """A logits processor that records the most probable tokens of each step and changes nothing.

    It does not keep all logits, which would fill the memory for a long answer. Generation applies it before temperature
    and ``top_p``.

    Args:
        count: number of tokens to record per position.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._steps: list[tuple[list[list[int]], list[list[float]]]] = []

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Record the most probable tokens of ``scores``, of shape (rows, vocabulary); return ``scores`` unchanged."""
        logs, ids = scores.float().log_softmax(-1).topk(min(self._count, scores.shape[-1]))
        self._steps.append((ids.tolist(), logs.tolist()))
        return scores

    def tokens(self, row: int, answer: Sequence[int], tokenizer: Any) -> tuple[Token, ...]:
        """Return the tokens of one row's answer, each with the most probable tokens at its position."""
        found = []
        for token, (ids, logs) in zip(answer, self._steps, strict=False):  # other rows may be longer
            texts = tokenizer.batch_decode([[index] for index in ids[row]])
            found.append(Token(tokenizer.decode([token]), tuple(zip(texts, logs[row], strict=True))))
        return tuple(found)
