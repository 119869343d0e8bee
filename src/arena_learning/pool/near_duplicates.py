"""Finds near duplicates: texts whose word 3-grams have a Jaccard similarity of at least a threshold.

MinHash sketches (datasketch) propose candidates by bands that agree (locality-sensitive hashing); the exact similarity
of their 3-grams decides. So memory and time grow with the number of texts, not of pairs: a text whose bands agree with
no other text's costs nothing more, and that is nearly all of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from arena_learning.core import Progress
from arena_learning.pool.grams import GramHasher, Hashes

_PERMUTATIONS = 128
_MISSED = 0.005  # share of the pairs at the threshold that no band may find
_SEED = 1
_GRAM = 3
# A large family of texts made from one template, each just below the threshold, would compare all with all.
_FAMILY = 2000  # texts of a band's group that are compared, the earliest
_CHECKED = 256  # candidates whose exact similarity is computed, the most similar by their sketches
_UNSURE = 0.15  # below the threshold less this, a sketch's estimate is trusted (four standard deviations)
_ODD = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)


class NearDuplicates:
    """The near duplicates among ``texts``; of each text, `find` looks among the earlier texts that were kept.

    Args:
        texts: the texts, with single spaces between words (`folded_text`); read once, and not kept.
        total: number of texts, for the progress line.
        threshold: smallest Jaccard similarity, above 0 to 1.

    Example:
        >>> near = NearDuplicates(["a b c d e f", "a b c d e f g", "x y z"], 3, threshold=0.8)
        >>> near.keep(0)
        >>> near.find(1), near.find(2)  # 4 of 5 grams are shared
        ((0, 0.8), None)
    """

    def __init__(self, texts: Iterable[str], total: int, threshold: float) -> None:
        self._threshold = threshold
        self._grams, self._starts, self._sketches = _sketched(texts, total)
        self._groups = _groups(self._sketches, _rows_of_a_band(threshold))
        self._kept: dict[int, list[int]] = defaultdict(list)

    def find(self, number: int) -> tuple[int, float] | None:
        """Return a kept text that is near to text ``number``, and the similarity; None if there is none."""
        groups = self._groups[number]
        groups = groups[groups >= 0]
        if not len(groups):
            return None
        found = {one for group in groups.tolist() for one in self._kept.get(group, ())}
        if not found:
            return None
        candidates = np.array(sorted(found), dtype=np.int64)
        guess = (self._sketches[candidates] == self._sketches[number]).mean(axis=1)
        order = np.argsort(-guess, kind="stable")[:_CHECKED]
        own = self._grams_of(number)
        for place in order[guess[order] >= self._threshold - _UNSURE].tolist():
            other = self._grams_of(int(candidates[place]))
            shared = len(np.intersect1d(own, other, assume_unique=True))
            jaccard = shared / max(len(own) + len(other) - shared, 1)
            if jaccard >= self._threshold:
                return int(candidates[place]), jaccard
        return None

    def keep(self, number: int) -> None:
        """Let later texts be compared with text ``number``."""
        for group in self._groups[number].tolist():
            if group >= 0 and len(self._kept[group]) < _FAMILY:
                self._kept[group].append(number)

    def _grams_of(self, number: int) -> npt.NDArray[np.uint32]:
        return self._grams[self._starts[number] : self._starts[number + 1]]


def _sketched(
    texts: Iterable[str], total: int
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64], npt.NDArray[np.uint32]]:
    """Return all texts' 3-grams one after another, where each text's begin, and the MinHash sketches by text."""
    hasher = GramHasher(_GRAM)
    starts = np.zeros(total + 1, dtype=np.int64)
    sketches = np.zeros((total, _PERMUTATIONS), dtype=np.uint32)
    grams: list[npt.NDArray[np.uint32]] = []
    from datasketch import MinHash  # loads scipy

    empty = MinHash(num_perm=_PERMUTATIONS, seed=_SEED, hashfunc=int)
    with Progress("near duplicates: sketches", total, "instructions") as progress:
        for number, text in enumerate(texts):
            own = _half(hasher.hashes(text.split()))
            digest = empty.copy()  # shares the permutations, which take longer to draw than to apply
            digest.update_batch(own.tolist())
            sketches[number] = digest.hashvalues
            grams.append(own)
            starts[number + 1] = starts[number] + len(own)
            progress.advance()
    whole = np.concatenate(grams) if grams else np.zeros(0, dtype=np.uint32)
    return whole, starts, sketches


def _half(hashes: Hashes) -> npt.NDArray[np.uint32]:
    """Return hashes of 32 bits, distinct and sorted: enough to tell the grams of two texts apart."""
    return np.unique((hashes >> np.uint64(32)).astype(np.uint32))


def _rows_of_a_band(threshold: float) -> int:
    """Return how many values of a sketch make a band: as many as leave few pairs at the threshold unfound."""
    for rows in range(16, 1, -1):
        bands = _PERMUTATIONS // rows
        if (1 - threshold**rows) ** bands <= _MISSED:
            return rows
    return 1


def _groups(sketches: npt.NDArray[np.uint32], rows: int) -> npt.NDArray[np.int64]:
    """Return each text's group in each band, shape (texts, bands): equal where a band agrees, -1 where with none."""
    bands = _PERMUTATIONS // rows
    groups = np.full((len(sketches), bands), -1, dtype=np.int64)
    offset = 0
    for band in range(bands):
        mixed = np.zeros(len(sketches), dtype=np.uint64)
        for place in range(band * rows, (band + 1) * rows):
            mixed = (mixed ^ sketches[:, place].astype(np.uint64)) * _ODD
            mixed ^= mixed >> _SHIFT
        _, inverse, counts = np.unique(mixed, return_inverse=True, return_counts=True)
        several = counts[inverse] > 1
        groups[several, band] = inverse[several] + offset
        offset += len(counts)
    return groups
