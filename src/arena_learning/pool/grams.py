"""Hashes of a text's word n-grams: what near duplicates and overlaps are counted by."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]

_KEPT = 1_000_000  # words in memory: about 130 MB
_ODD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 divided by the golden ratio: a multiplier that spreads
_SHIFT = np.uint64(29)


class GramHasher:
    """Hashes word n-grams; each distinct word is hashed once.

    Args:
        size: words of an n-gram. A text with fewer words has one gram, of all its words.

    Example:
        >>> hasher = GramHasher(3)
        >>> len(hasher.hashes("the sky is blue the sky is".split()))  # "the sky is" occurs twice
        4
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._words: dict[str, int] = {}

    def hashes(self, words: Sequence[str]) -> Hashes:
        """Return the distinct hashes of the n-grams, sorted."""
        if not words:
            return np.zeros(0, dtype=np.uint64)
        known = self._words
        try:
            codes = [known[word] for word in words]
        except KeyError:
            if len(known) > _KEPT:
                known.clear()
            codes = [self._code(word) for word in words]
        array = np.array(codes, dtype=np.uint64)
        size = min(self._size, len(words))
        mixed = np.full(len(words) - size + 1, size, dtype=np.uint64)  # a short text's one gram is no n-gram
        for place in range(size):
            mixed = (mixed ^ array[place : len(words) - size + 1 + place]) * _ODD
            mixed ^= mixed >> _SHIFT
        return np.unique(mixed)

    def _code(self, word: str) -> int:
        code = self._words.get(word)
        if code is None:
            digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            code = self._words[word] = int.from_bytes(digest, "little")
        return code
