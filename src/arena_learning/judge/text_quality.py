"""Measures that show a text is no answer: loops, keyword lists, echoes, another language. They use no model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from arena_learning.core import sentences, words

# The most common English words of grammar rather than content.
FUNCTION_WORDS = frozenset(
    "a about after all also an and any are as at be because been before being both but by can could did do does each "
    "for from had has have he her here him his how i if in into is it its just like may me more most my no not now of "
    "off on once one only or other our out over own she should since so some such than that the their them then there "
    "these they this those through to too under until up us was we were what when where which while who why will with "
    "would you your i'm it's don't i'll you're that's can't isn't let's".split()
)

# A noun phrase must follow these words; a word that cannot open one, or the end of a sentence, shows a wrong order.
_DETERMINERS = frozenset("an the my your his its our their every".split())
_PREPOSITIONS = frozenset("of from at into".split())
_NO_OPENERS = frozenset(
    "and or but of is are was were be been has had have do does did will would could should because if than so".split()
)
_NO_NOUNS = (
    _NO_OPENERS
    | _DETERMINERS
    | frozenset("to at for with from by he we they it you that these those".split())
)
_STARTS = re.compile(r"[^\W\d_]{3,}[.!?] +([^\W\d_])")
_FEWEST = 5  # least number of words for a meaningful share


def repetition(text: str, size: int = 4) -> float:
    """Return the share of word ``size``-grams that repeat an earlier one: 0 for varied text, near 1 for a loop."""
    tokens = words(text)
    if len(tokens) < 2 * size:
        return 0.0
    grams = Counter(tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1))
    return 1.0 - len(grams) / sum(grams.values())


def function_word_share(text: str) -> float:
    """Return the share of function words of English: about 0.35-0.55 in prose, near 0 in lists or other languages."""
    tokens = words(text)
    return sum(t in FUNCTION_WORDS for t in tokens) / len(tokens) if tokens else 0.0


def overlap(text: str, sources: Sequence[str], size: int = 5) -> float:
    """Return the share of the words of ``text`` that are in a run of ``size`` words copied from a source."""
    tokens = words(text)
    if len(tokens) < size:
        return 0.0
    known: set[tuple[str, ...]] = set()
    for source in sources:
        other = words(source)
        known.update(tuple(other[i : i + size]) for i in range(len(other) - size + 1))
    copied = [False] * len(tokens)
    for i in range(len(tokens) - size + 1):
        if tuple(tokens[i : i + size]) in known:
            copied[i : i + size] = [True] * size
    return sum(copied) / len(tokens)


def jumble(text: str) -> float:
    """Return the share of places with words out of order: near 0 in prose.

    Counted are determiners and prepositions, and starts of sentences in lower case. A single wrong place counts as a
    slip: the share is then 0.
    """
    starts = _STARTS.findall(text)
    places, wrong = len(starts), sum(letter.islower() for letter in starts)
    for sentence in sentences(text):
        for word, following in pairwise([*words(sentence), "and"]):
            if word in _DETERMINERS or word in _PREPOSITIONS:
                places += 1
                wrong += following in (_NO_NOUNS if word in _DETERMINERS else _NO_OPENERS)
    return wrong / places if wrong > 1 else 0.0


def drawn_share(text: str, source: str) -> float:
    """Return the share of the content words of ``text`` that occur in ``source``; 0 for texts of fewer than five.

    A ``*`` in the source stands for any ending of the word before it.
    """
    content = [token for token in words(text) if token not in FUNCTION_WORDS]
    if len(content) < _FEWEST:
        return 0.0
    known = set(words(source))
    stems = tuple(stem for chunk in source.split() if chunk.endswith("*") for stem in words(chunk)[-1:])
    return sum(t in known or t.startswith(stems) for t in content) / len(content)
