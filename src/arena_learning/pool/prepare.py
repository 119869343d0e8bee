"""The `prepare` stage: divides the pool into disjoint splits, a validation and a test set; every drop is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from arena_learning.core import ArenaError, Paths, write_json
from arena_learning.params import NONE, SPLITS, Params
from arena_learning.pool.embeddings import Embedder, shared_embedder
from arena_learning.pool.filters import Dropped, conversation_text, filter_instructions
from arena_learning.pool.read import read_answers, read_pool, with_references
from arena_learning.pool.split import draw
from arena_learning.schema import Instruction, write_rows

HELD_OUT = ("validation", "test")


class PreparedPool(NamedTuple):
    """The prepared pool.

    Attributes:
        splits: instructions by split (``d0`` to ``d9``, ``validation``, ``test``).
        dropped: dropped instructions with reasons.
        read: number of instructions that were read.
        unused: ids of instructions that are left over.
    """

    splits: dict[str, list[Instruction]]
    dropped: list[Dropped]
    read: int
    unused: list[str]

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
            "multi_turn": {n: sum(i.multi_turn for i in rows) for n, rows in self.splits.items() if rows},
            "dropped_rows": [d._asdict() for d in sorted(self.dropped)],
        }


def prepare_pool(params: Params, paths: Paths) -> dict[str, Any]:
    """Write the prepared files and return the data card.

    Raises:
        ArenaError: a malformed row in the pool, or too few instructions for the splits.
    """
    pool = params.pool
    outside = params.files_outside
    instructions = read_pool(paths.user_file(pool.instructions, "pool.instructions", outside=outside))
    if pool.references:
        answers = read_answers(paths.user_file(pool.references, "pool.references", outside=outside))
        instructions = with_references(instructions, answers)
    prepared = split_pool(instructions, params, shared_embedder(paths.vectors))
    for name, rows in prepared.splits.items():
        write_rows(paths.split(name), sorted(rows, key=lambda i: i.id))
    for path in (paths.split(NONE), paths.sft(NONE), paths.preferences(NONE)):
        write_rows(path, [])
    card = prepared.card()
    write_json(paths.prepare_card, card)
    return card


def split_pool(
    instructions: Sequence[Instruction], params: Params, embedder: Embedder | None = None
) -> PreparedPool:
    """Filter the pool, draw test and validation set, decontaminate the rest against them, draw the splits."""
    pool, seed = params.pool, params.seed
    kept, dropped = filter_instructions(instructions, pool.filters)
    splits: dict[str, list[Instruction]] = {}
    for name, size in (("test", pool.test), ("validation", pool.validation)):
        splits[name], kept = draw(kept, size, seed, name)
        _demand(name, size, len(splits[name]))
    held_out = splits["test"] + splits["validation"]
    filters = pool.filters
    kept, contaminated = decontaminate(kept, held_out, filters.contamination, filters.nearest, embedder)
    for name in SPLITS:
        size = pool.splits.get(name, 0)
        splits[name], kept = draw(kept, size, seed, name)
        _demand(name, size, len(splits[name]))
    return PreparedPool(splits, dropped + contaminated, len(instructions), [i.id for i in kept])


def decontaminate(
    instructions: Sequence[Instruction],
    held_out: Sequence[Instruction],
    threshold: float,
    nearest: int,
    embedder: Embedder | None = None,
) -> tuple[list[Instruction], list[Dropped]]:
    """Drop instructions with a cosine of at least ``threshold`` to a held-out one or among its ``nearest`` (0: off)."""
    if not instructions or not held_out or not (threshold or nearest):
        return list(instructions), []
    embedder = embedder or shared_embedder()
    ours = embedder.embed([conversation_text(i) for i in instructions])
    theirs = embedder.embed([conversation_text(i) for i in held_out])
    similarity = ours @ theirs.T
    close: dict[int, tuple[str, int]] = {}
    if threshold:
        for row in np.flatnonzero(similarity.max(axis=1) >= threshold):
            close[int(row)] = ("contamination", int(similarity[row].argmax()))
    for column in range(similarity.shape[1]) if nearest else ():
        for row in np.argsort(-similarity[:, column], kind="stable")[:nearest]:
            close.setdefault(int(row), ("nearest to a held-out item", column))
    kept = [instruction for row, instruction in enumerate(instructions) if row not in close]
    dropped = [Dropped(instructions[r].id, reason, held_out[c].id) for r, (reason, c) in close.items()]
    return kept, dropped


def _demand(name: str, wanted: int, drawn: int) -> None:
    if drawn < wanted:
        raise ArenaError(
            f"the pool has only {drawn} instructions left for '{name}', which needs {wanted}",
            where="params.yaml, pool",
            hint="add instructions to the pool, relax pool.filters, or make the splits smaller",
        )
