"""Filters that drop instructions before the splits are drawn (paper, section 4.1)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from datasketch import MinHash, MinHashLSH

from arena_learning.core import with_single_spaces
from arena_learning.params import Filters
from arena_learning.schema import Instruction

_PERMUTATIONS = 128


class Dropped(NamedTuple):
    """A dropped instruction, the reason, and the instruction that it duplicates or resembles, if any."""

    id: str
    reason: str
    like: str = ""


def filter_instructions(
    instructions: Sequence[Instruction], filters: Filters
) -> tuple[list[Instruction], list[Dropped]]:
    """Apply the filters in the paper's order: content, length, prefix, exact and near duplicates, language.

    Of two duplicates the earlier one is kept. Returns the kept instructions and the dropped ones.
    """
    dropped: list[Dropped] = []
    kept: list[Instruction] = []
    texts: dict[str, str] = {}
    prefixes: dict[str, str] = {}
    blocked = [word for b in filters.blocked if (word := folded_text(b))]
    near = _NearDuplicates(filters.near_duplicate) if filters.near_duplicate else None
    for instruction in instructions:
        folded = folded_text(conversation_text(instruction))
        prefix = instruction.turns[-1].content[: filters.same_prefix]
        reason, like = "", ""
        if any(re.search(rf"(?<!\w){re.escape(b)}(?!\w)", folded) for b in blocked):
            reason = "blocked"
        elif len(instruction.turns[-1].content.strip()) < filters.min_chars:
            reason = "too short"
        elif filters.same_prefix and prefix in prefixes:
            reason, like = "same prefix", prefixes[prefix]
        elif folded in texts:
            reason, like = "exact duplicate", texts[folded]
        elif near and (twin := near.find(instruction.id, folded)):
            reason, like = "near duplicate", twin
        elif instruction.language not in filters.languages:
            reason = "language"
        if reason:
            dropped.append(Dropped(instruction.id, reason, like))
            continue
        texts[folded] = prefixes[prefix] = instruction.id
        if near:
            near.add(instruction.id, folded)
        kept.append(instruction)
    return kept, dropped


def conversation_text(instruction: Instruction) -> str:
    """Return the text of all turns: two instructions with the same last question may differ in earlier turns."""
    return "\n".join(turn.content for turn in instruction.turns)


def folded_text(text: str) -> str:
    """Return ``text`` in lower case, in Unicode form NFC, with single spaces.

    In scripts without spaces between words, each character becomes a word, so that blocked words and near duplicates
    are found in them too.

    Example:
        >>> folded_text("Der  HIMMEL\\nist 蓝色")
        'der himmel ist 蓝 色'
    """
    return " ".join(with_single_spaces(unicodedata.normalize("NFC", text.lower())).split())


class _NearDuplicates:
    """Finds texts whose word 3-grams have an estimated Jaccard similarity of at least the threshold."""

    def __init__(self, threshold: float) -> None:
        # The index misses some pairs at its threshold and rejects thresholds near 1. So it gets a lower one and
        # proposes too many candidates, which `find` checks.
        self._lsh = MinHashLSH(threshold=min(0.9, 0.9 * threshold), num_perm=_PERMUTATIONS)
        self._threshold = threshold
        self._hashes: dict[str, MinHash] = {}

    def find(self, key: str, text: str) -> str:
        """Return the key of the most similar earlier text, or an empty string."""
        digest = self._hash(text)
        near = [(digest.jaccard(self._hashes[k]), k) for k in self._lsh.query(digest)]
        close = [pair for pair in near if pair[0] >= self._threshold]
        return max(close)[1] if close else ""

    def add(self, key: str, text: str) -> None:
        digest = self._hashes[key] = self._hash(text)
        self._lsh.insert(key, digest)

    def _hash(self, text: str) -> MinHash:
        digest = MinHash(num_perm=_PERMUTATIONS, seed=1)
        digest.update_batch(sorted(gram.encode() for gram in _grams(text.split())))
        return digest


def _grams(tokens: Sequence[str], size: int = 3) -> Iterable[str]:
    if len(tokens) < size:
        return {" ".join(tokens)}
    return {" ".join(tokens[i : i + size]) for i in range(len(tokens) - size + 1)}
