"""The spellings of a vote's winner, and of a missing one.

Public files spell votes in many ways: ``tie``, ``Tie``, ``tie (bothbad)``, ``both_bad``, ``A``, ``left``, or three
columns of 0 and 1. Every command that reads votes (`arena rate`, `arena import`, `arena audit-judge`) uses this module.
"""

from __future__ import annotations

import math
import re
from collections.abc import Container
from typing import Literal

VotedWinner = Literal["model_a", "model_b", "tie"]

# One column per outcome, as in Kaggle's file of Chatbot Arena: 1 in one of them, 0 in the others.
ONE_HOT: dict[str, VotedWinner] = {
    "winner_model_a": "model_a",
    "winner_model_b": "model_b",
    "winner_tie": "tie",
    "winner_both_bad": "tie",
    "winner_tie_bothbad": "tie",
}
ONE_HOT_NEEDED = ("winner_model_a", "winner_model_b")
SPELLINGS = "A, B, left, right, both_bad, tie (bothbad) and the like"
NO_WINNER = "no winner given"

_IGNORED = re.compile(r"[\s_\-()\[\]]+")
_SIDES: dict[VotedWinner, tuple[str, ...]] = {
    "model_a": ("a", "1", "one", "left", "first"),
    "model_b": ("b", "2", "two", "right", "second"),
}
_NOUNS = ("", "model", "assistant", "response", "answer", "output", "option")
_TIES = (
    "tie",
    "tied",
    "draw",
    "equal",
    "same",
    "both",
    "bothgood",
    "bothbad",
    "tiebothbad",
    "tiebothgood",
    "neither",
)
_KNOWN: dict[str, VotedWinner] = dict.fromkeys(_TIES, "tie")
for _winner, _words in _SIDES.items():
    # A bare 1 or 2 is ambiguous: some files count from 0, and in some 1 is the baseline.
    _KNOWN |= {noun + word: _winner for noun in _NOUNS for word in _words if noun or not word.isdigit()}
    _KNOWN |= {word + noun: _winner for noun in _NOUNS for word in _words if not word.isdigit()}
_MISSING = {"", "nan", "null", "none", "na", "n/a", "<na>"}


def read_winner(said: object) -> VotedWinner | None:
    """Return the outcome that a spelling means, or None if it is unknown.

    Case, spaces, underscores, hyphens and brackets are ignored.

    Args:
        said: a cell or JSON value; every value that is not text is unknown.

    Example:
        >>> read_winner("Tie (both bad)"), read_winner("[[A]]"), read_winner("skip")
        ('tie', 'model_a', None)
    """
    return _KNOWN.get(_IGNORED.sub("", said).lower()) if isinstance(said, str) else None


def is_missing(value: object) -> bool:
    """Return whether a value means that nothing is given: None, NaN, empty text, ``null``, ``nan``, ..."""
    if value is None:
        return True
    if isinstance(value, float):
        return math.isnan(value)
    return isinstance(value, str) and value.strip().lower() in _MISSING


def one_hot_columns(names: Container[str]) -> list[str]:
    """Return the outcome columns among ``names``; none, unless those of both models are there."""
    held = [name for name in ONE_HOT if name in names]
    return held if all(name in held for name in ONE_HOT_NEEDED) else []
