"""What single answers scored, so that a pointwise judge scores each once for all its opponents and both orders.

Where six contestants play all against all in both orders, each answer is in ten games.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from arena_learning.schema import Instruction, Response

Score = TypeVar("Score")
Answer = tuple[Instruction, Response]
_Key = tuple[int, str, str]

_MOST = 100_000  # scores in memory; with their rationales some 100 MB


class PointScores(Generic[Score]):
    """Scores of answers by instruction, text and finish reason: all that a pointwise judge may look at.

    Args:
        most: the most scores to keep; when they are exceeded, all are forgotten.

    Example:
        >>> from arena_learning.testing.judge_suite import present
        >>> instruction, good, poor = present("good", "poor")
        >>> scores = PointScores[int]()
        >>> answers = [(instruction, good), (instruction, poor), (instruction, good)]
        >>> scores.of(answers, lambda new: range(len(new)))
        [0, 1, 0]
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._known: dict[_Key, Score] = {}
        # Kept, so that no other instruction gets the identity of one in a key.
        self._instructions: dict[int, Instruction] = {}

    def __len__(self) -> int:
        return len(self._known)

    def of(
        self, answers: Sequence[Answer], score: Callable[[Sequence[Answer]], Sequence[Score]]
    ) -> list[Score]:
        """Return the score of each answer.

        Args:
            answers: an instruction and a response each.
            score: scores the distinct answers that are not known yet, in one call and in their order.
        """
        keys = [_key(*answer) for answer in answers]
        distinct = dict(zip(keys, answers, strict=True))
        new = {key: answer for key, answer in distinct.items() if key not in self._known}
        if len(self._known) + len(new) > self._most:
            self._known.clear()
            self._instructions.clear()
            new = distinct
        if new:
            self._known.update(zip(new, score(list(new.values())), strict=True))
            self._instructions.update((id(instruction), instruction) for instruction, _ in new.values())
        return [self._known[key] for key in keys]


def _key(instruction: Instruction, response: Response) -> _Key:
    return id(instruction), response.text, response.finish_reason
