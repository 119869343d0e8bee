"""The likeliest tokens at each place of an answer, noted while transformers generates it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from arena_learning.engines.base import Token


class TopLogprobs:
    """A logits processor that changes nothing and keeps the likeliest tokens of every step.

    Only these are kept: all logits of a long answer would fill the memory. Generation applies it before temperature
    and ``top_p``.

    Args:
        count: how many tokens to keep at each place.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._steps: list[tuple[list[list[int]], list[list[float]]]] = []

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Note the likeliest tokens of ``scores`` (rows, vocabulary); return it as it is."""
        logs, ids = scores.float().log_softmax(-1).topk(min(self._count, scores.shape[-1]))
        self._steps.append((ids.tolist(), logs.tolist()))
        return scores

    def tokens(self, row: int, answer: Sequence[int], tokenizer: Any) -> tuple[Token, ...]:
        """Return the tokens of one row's answer with the likeliest in their places."""
        found = []
        for token, (ids, logs) in zip(answer, self._steps, strict=False):  # other rows may have gone on
            texts = tokenizer.batch_decode([[index] for index in ids[row]])
            found.append(Token(tokenizer.decode([token]), tuple(zip(texts, logs[row], strict=True))))
        return tuple(found)
