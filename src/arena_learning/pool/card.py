"""The data card of the prepared pool: what was read, kept and dropped, with counts and examples."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from arena_learning.pool.evaluation_sets import ChosenSet
from arena_learning.pool.filters import Dropped, conversation_text
from arena_learning.pool.split import seeded_rank
from arena_learning.schema import Instruction

_EXAMPLES = 3  # of each reason
_LONGEST = 300  # characters of an example


class PreparedPool(NamedTuple):
    """The prepared pool.

    Attributes:
        splits: instructions by split (``d0`` to ``d9``, ``validation``, ``test``).
        dropped: dropped instructions with reasons.
        read: number of instructions that were read.
        unused: ids of instructions that are left over.
        examples: a few dropped instructions of each reason, with their texts.
        assigned: number of instructions that were given a category.
        test_set: how the test set was chosen; None if it was drawn.
    """

    splits: dict[str, list[Instruction]]
    dropped: list[Dropped]
    read: int
    unused: list[str]
    examples: dict[str, list[dict[str, str]]]
    assigned: int = 0
    test_set: ChosenSet | None = None

    def card(self) -> dict[str, Any]:
        """Return the counts of the data card: read = dropped + in splits + unused."""
        return {
            "read": self.read,
            "dropped": dict(sorted(Counter(d.reason for d in self.dropped).items())),
            "splits": {name: len(rows) for name, rows in self.splits.items()},
            "unused": len(self.unused),
            "categories": {
                name: dict(sorted(Counter(i.category for i in rows).items()))
                for name, rows in self.splits.items()
                if rows
            },
            "categories_assigned": self.assigned,
            "multi_turn": {n: sum(i.multi_turn for i in rows) for n, rows in self.splits.items() if rows},
            "examples": self.examples,
        }


def choose_examples(
    dropped: Sequence[Dropped], instructions: Sequence[Instruction], others: Sequence[Instruction], seed: int
) -> dict[str, list[dict[str, str]]]:
    """Return a few dropped instructions of each reason, with the texts of both sides, cut to a few lines.

    Args:
        dropped: the dropped instructions.
        instructions: the pool.
        others: held-out items that dropped instructions resemble.
        seed: chooses the examples.
    """
    by_reason: dict[str, list[Dropped]] = defaultdict(list)
    for row in dropped:
        by_reason[row.reason].append(row)
    chosen = {
        reason: sorted(rows, key=lambda row: seeded_rank(seed, "example", row.id))[:_EXAMPLES]
        for reason, rows in sorted(by_reason.items())
    }
    wanted = {name for rows in chosen.values() for row in rows for name in (row.id, row.like) if name}
    texts = {one.id: _cut(conversation_text(one)) for one in [*instructions, *others] if one.id in wanted}
    return {
        reason: [
            {
                "id": row.id,
                "note": row.note,
                "text": texts[row.id],
                "like": row.like,
                "like_text": texts.get(row.like, ""),
            }
            for row in rows
        ]
        for reason, rows in chosen.items()
    }


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} [...]"
