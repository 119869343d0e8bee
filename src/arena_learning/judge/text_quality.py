"""Signs that a text is not an answer: loops, keyword lists, echoes, another language. Pure text, no model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from arena_learning.points import words

# The commonest English words that carry grammar rather than substance.
FUNCTION_WORDS = frozenset(
    "a about after all also an and any are as at be because been before being both but by can could did do does each "
    "for from had has have he her here him his how i if in into is it its just like may me more most my no not now of "
    "off on once one only or other our out over own she should since so some such than that the their them then there "
    "these they this those through to too under until up us was we were what when where which while who why will with "
    "would you your i'm it's don't i'll you're that's can't isn't let's".split()
)


def repetition(text: str, size: int = 4) -> float:
    """Return the share of word ``size``-grams that occurred already: 0 for varied text, near 1 for a loop."""
    tokens = words(text)
    if len(tokens) < 2 * size:
        return 0.0
    grams = Counter(tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1))
    return 1.0 - len(grams) / sum(grams.values())


def function_word_share(text: str) -> float:
    """Return the share of grammatical English words: about 0.35-0.55 in prose, near 0 in lists or other languages."""
    tokens = words(text)
    return sum(t in FUNCTION_WORDS for t in tokens) / len(tokens) if tokens else 0.0


def overlap(text: str, sources: Sequence[str], size: int = 5) -> float:
    """Return the share of the words of ``text`` that stand in a run of ``size`` words copied from a source."""
    tokens = words(text)
    if len(tokens) < size:
        return 0.0
    known = set()
    for source in sources:
        other = words(source)
        known.update(tuple(other[i : i + size]) for i in range(len(other) - size + 1))
    copied = [False] * len(tokens)
    for i in range(len(tokens) - size + 1):
        if tuple(tokens[i : i + size]) in known:
            copied[i : i + size] = [True] * size
    return sum(copied) / len(tokens)
