"""Filters that drop instructions before the splits are drawn (paper, section 4.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from arena_learning.core import Progress
from arena_learning.params import Filters
from arena_learning.pool.checks import (
    TOXIC_WORDS,
    LanguageIdentifier,
    TokenCounter,
    WordList,
    folded_text,
    toxic_scores,
)
from arena_learning.pool.near_duplicates import NearDuplicates
from arena_learning.schema import Instruction


@dataclass(frozen=True, order=True, slots=True)
class Dropped:
    """A dropped instruction.

    Attributes:
        id: the instruction.
        reason: the filter that dropped it.
        like: the instruction or held-out item that it duplicates or resembles; empty if none.
        note: what the filter saw: a word, a number, a language.
    """

    id: str
    reason: str
    like: str = ""
    note: str = field(default="", compare=False)


def filter_instructions(
    instructions: Sequence[Instruction], filters: Filters, flagged: Collection[str] = ()
) -> tuple[list[Instruction], list[Dropped]]:
    """Apply the filters in the paper's order: content, length, prefix, exact and near duplicates, language.

    Of two duplicates the earlier one is kept.

    Args:
        instructions: the pool.
        filters: which instructions are dropped.
        flagged: ids of the instructions that their source has flagged as toxic.

    Returns:
        The kept instructions and the dropped ones.

    Raises:
        ArenaError: a model or a package that a filter needs is missing.
    """
    texts = [folded_text(conversation_text(one)) for one in instructions]
    checks = _Checks(instructions, filters, flagged)
    earlier = _Earlier(instructions, texts, filters)
    kept: list[Instruction] = []
    dropped: list[Dropped] = []
    with Progress("filters", len(instructions), "instructions") as progress:
        for number, (instruction, text) in enumerate(zip(instructions, texts, strict=True)):
            verdict = (
                checks.content(number, text) or earlier.duplicate(number, text) or checks.language(number)
            )
            if verdict:
                dropped.append(verdict)
            else:
                earlier.keep(number, text)
                kept.append(instruction)
            progress.advance()
    return kept, dropped


def conversation_text(instruction: Instruction) -> str:
    """Return the text of all turns: two instructions with the same last question may differ in earlier turns."""
    return "\n".join(turn.content for turn in instruction.turns)


class _Checks:
    """The filters that look at one instruction alone."""

    def __init__(
        self, instructions: Sequence[Instruction], filters: Filters, flagged: Collection[str]
    ) -> None:
        self._pool, self._filters = instructions, filters
        self._flagged = frozenset(flagged) if filters.flagged else frozenset()
        self._blocked = WordList(filters.blocked)
        self._toxic = WordList(TOXIC_WORDS if filters.toxic_words else ())
        self._tokens = TokenCounter(filters.tokenizer) if filters.max_tokens else None
        self._identifier = LanguageIdentifier() if filters.language_by == "text" else None
        self._scores = (
            toxic_scores(
                [conversation_text(one) for one in instructions], filters.toxic_model, filters.toxic_labels
            )
            if filters.toxic_model
            else []
        )

    def content(self, number: int, folded: str) -> Dropped | None:
        """Return why an instruction is dropped for its content or length, if it is."""
        one, filters = self._pool[number], self._filters
        last = one.turns[-1].content.strip()
        if one.id in self._flagged:
            return Dropped(one.id, "flagged by its source")
        if word := self._blocked.find(folded):
            return Dropped(one.id, "blocked", note=word)
        if word := self._toxic.find(folded):
            return Dropped(one.id, "toxic word", note=word)
        if self._scores and self._scores[number] >= filters.toxic_score:
            return Dropped(one.id, "toxic by the classifier", note=f"{self._scores[number]:.2f}")
        if len(last) < filters.min_chars:
            return Dropped(one.id, "too short", note=f"{len(last)} characters")
        if self._tokens and (tokens := self._tokens.more_than(conversation_text(one), filters.max_tokens)):
            return Dropped(one.id, "too long", note=f"{tokens} tokens")
        return None

    def language(self, number: int) -> Dropped | None:
        """Return that an instruction is in another language, if it is."""
        one = self._pool[number]
        said, note = one.language, one.language
        if self._identifier:
            # The user's words decide: a question about a foreign text is often answered in the text's language.
            code, probability = self._identifier.identify(one.text)
            if code and probability >= self._filters.language_sure:
                said, note = code, f"{code} {probability:.2f}"
        return None if said in self._filters.languages else Dropped(one.id, "language", note=note)


class _Earlier:
    """The filters that compare an instruction with the earlier ones that were kept."""

    def __init__(self, instructions: Sequence[Instruction], texts: Sequence[str], filters: Filters) -> None:
        self._pool, self._filters = instructions, filters
        self._texts: dict[bytes, int] = {}
        self._prefixes: dict[str, int] = {}
        threshold = filters.near_duplicate
        self._near = NearDuplicates(texts, len(texts), threshold) if threshold else None

    def duplicate(self, number: int, folded: str) -> Dropped | None:
        """Return which earlier instruction makes this one a duplicate, if one does."""
        one = self._pool[number]
        if self._filters.same_prefix and (twin := self._prefixes.get(self._prefix(number))) is not None:
            return Dropped(one.id, "same prefix", self._pool[twin].id, self._prefix(number))
        if (twin := self._texts.get(_digest(folded))) is not None:
            return Dropped(one.id, "exact duplicate", self._pool[twin].id)
        if self._near and (near := self._near.find(number)):
            return Dropped(one.id, "near duplicate", self._pool[near[0]].id, f"Jaccard {near[1]:.2f}")
        return None

    def keep(self, number: int, folded: str) -> None:
        """Compare later instructions with this one."""
        self._texts[_digest(folded)] = number
        if self._filters.same_prefix:
            self._prefixes[self._prefix(number)] = number
        if self._near:
            self._near.keep(number)

    def _prefix(self, number: int) -> str:
        return self._pool[number].turns[-1].content[: self._filters.same_prefix]


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
