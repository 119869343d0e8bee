"""Drops instructions that are close to a held-out item: by sentence embedding, or by shared word n-grams."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from arena_learning.core import Progress, words
from arena_learning.params import Filters
from arena_learning.pool.embeddings import Embedder, Vectors, shared_embedder
from arena_learning.pool.filters import Dropped, conversation_text
from arena_learning.pool.grams import GramHasher
from arena_learning.schema import Instruction

_BLOCK = 8192  # rows of one matrix product: against 2,500 items 80 MB


def drop_contaminated(
    instructions: Sequence[Instruction],
    held_out: Sequence[Instruction],
    filters: Filters,
    embedder: Embedder | None = None,
) -> tuple[list[Instruction], list[Dropped]]:
    """Drop what is close to a held-out item by any of the filters `overlap`, `contamination` and `nearest`.

    Returns:
        The kept instructions and the dropped ones.

    Raises:
        ArenaError: the package with the embedding model is not installed.
    """
    kept, overlapping = drop_overlapping(instructions, held_out, filters.overlap, filters.overlap_words)
    kept, close = decontaminate(kept, held_out, filters.contamination, filters.nearest, embedder)
    return kept, overlapping + close


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
    theirs = embedder.embed([conversation_text(i) for i in held_out])
    found = nearest_rows(
        lambda: embedder.blocks([conversation_text(i) for i in instructions], _BLOCK), theirs, nearest
    )
    close: dict[int, tuple[str, int, float]] = {}
    if threshold:
        for row in np.flatnonzero(found.best >= threshold).tolist():
            item, cosine = int(found.best_item[row]), float(found.best[row])
            close[row] = ("contamination", item, cosine)
    for item, rows in enumerate(found.nearest):
        for row, cosine in rows:
            close.setdefault(row, ("nearest to a held-out item", item, cosine))
    kept = [instruction for row, instruction in enumerate(instructions) if row not in close]
    dropped = [
        Dropped(instructions[row].id, reason, held_out[item].id, f"cosine {cosine:.2f}")
        for row, (reason, item, cosine) in close.items()
    ]
    return kept, dropped


class Neighbours(NamedTuple):
    """How close rows and items are.

    Attributes:
        best: highest cosine of each row to an item, shape (rows,).
        best_item: that item, shape (rows,).
        nearest: of each item, its nearest rows with their cosines, the nearest first; of equal ones the earlier row.
    """

    best: npt.NDArray[np.float32]
    best_item: npt.NDArray[np.int64]
    nearest: list[list[tuple[int, float]]]


def nearest_rows(blocks: Callable[[], Iterator[Vectors]], items: Vectors, count: int) -> Neighbours:
    """Compare rows with items by a matrix product of one block of rows after the other.

    Memory holds one block's similarities, not those of all rows.

    Args:
        blocks: returns the rows' unit vectors, in blocks of shape (rows of the block, size).
        items: the items' unit vectors, shape (items, size).
        count: how many nearest rows of each item to find.
    """
    best, best_item, start = [], [], 0
    nearest: list[list[tuple[int, float]]] = [[] for _ in items]
    floor = np.full(len(items), -np.inf, dtype=np.float32)  # below it a row is not among an item's nearest
    for block in blocks():
        similarity = block @ items.T
        best.append(similarity.max(axis=1))
        best_item.append(similarity.argmax(axis=1))
        if count:
            place = max(len(block) - count, 0)
            least = np.maximum(np.partition(similarity, place, axis=0)[place], floor)
            if len(block) < count:
                least = floor
            for row, item in np.argwhere(similarity >= least):
                nearest[item].append((start + int(row), float(similarity[row, item])))
            for item, rows in enumerate(nearest):
                rows.sort(key=lambda pair: (-pair[1], pair[0]))
                del rows[count:]
                floor[item] = rows[-1][1] if len(rows) == count else -np.inf
        start += len(block)
    return Neighbours(np.concatenate(best), np.concatenate(best_item), nearest)


def drop_overlapping(
    instructions: Sequence[Instruction], held_out: Sequence[Instruction], share: float, size: int
) -> tuple[list[Instruction], list[Dropped]]:
    """Drop instructions that contain at least ``share`` (0: off) of a held-out item's n-grams of ``size`` words.

    An item inside of a long instruction is found as well as an equal one. Words are compared without case and
    punctuation. An item with fewer words is found only in an instruction of exactly these words.
    """
    if not instructions or not held_out or not share:
        return list(instructions), []
    items = _Items([words(conversation_text(item)) for item in held_out], size)
    kept: list[Instruction] = []
    dropped: list[Dropped] = []
    with Progress("overlap with held-out items", len(instructions), "instructions") as progress:
        for instruction in instructions:
            item, found = items.nearest(words(conversation_text(instruction)))
            progress.advance()
            if found >= share:
                note = f"{100 * found:.0f} % of its {size}-grams"
                dropped.append(Dropped(instruction.id, "overlap", held_out[item].id, note))
            else:
                kept.append(instruction)
    return kept, dropped


class _Items:
    """The n-grams of held-out items, sorted, each with the items that contain it."""

    def __init__(self, texts: Sequence[Sequence[str]], size: int) -> None:
        self._hasher = GramHasher(size)
        own = [self._hasher.hashes(text) for text in texts]
        self._sizes = np.array([len(grams) for grams in own])
        grams = np.concatenate(own)
        order = np.argsort(grams, kind="stable")
        self._items = np.repeat(np.arange(len(own)), self._sizes)[order]
        self._grams, starts = np.unique(grams[order], return_index=True)
        self._starts = np.append(starts, len(grams))

    def nearest(self, text: Sequence[str]) -> tuple[int, float]:
        """Return the item of which a text contains the largest share of n-grams, and the share (0 where none)."""
        here = self._hasher.hashes(text)
        places = np.searchsorted(self._grams, here)
        places = places[places < len(self._grams)]
        met = places[
            self._grams[places] == here[: len(places)]
        ]  # what lies behind the last gram is the end of `here`
        if not len(met):
            return 0, 0.0
        found = np.concatenate([self._items[self._starts[n] : self._starts[n + 1]] for n in met.tolist()])
        items, counts = np.unique(found, return_counts=True)  # not by bincount: there may be many items
        shares = counts / self._sizes[items]
        best = int(shares.argmax())
        return int(items[best]), float(shares[best])
