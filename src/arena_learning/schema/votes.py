"""How a vote is written: the spellings of a winner, and what stands where there is none.

Public files agree on little: ``tie``, ``Tie``, ``tie (bothbad)``, ``both_bad``, ``A``, ``left``, three columns of 0 and
1. Whatever reads votes (`arena rate`, `arena import`, `arena audit-judge`) reads them by this file. Case does not
count, nor do spaces, underscores, hyphens and brackets:

    >>> read_winner("Tie (both bad)"), read_winner("[[A]]"), read_winner("skip")
    ('tie', 'model_a', None)
"""

from __future__ import annotations

import math
import re
from collections.abc import Container
from typing import Literal

VotedWinner = Literal["model_a", "model_b", "tie"]

# One column for each outcome, as in Kaggle's file of the Arena: 1 in one of them, 0 in the others.
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
    # A bare 1 or 2 says nothing: some count from 0, and for some 1 is the baseline.
    _KNOWN |= {noun + word: _winner for noun in _NOUNS for word in _words if noun or not word.isdigit()}
    _KNOWN |= {word + noun: _winner for noun in _NOUNS for word in _words if not word.isdigit()}
_MISSING = {"", "nan", "null", "none", "na", "n/a", "<na>"}


def read_winner(said: object) -> VotedWinner | None:
    """Return the outcome that a spelling means, or None if it means none.

    Args:
        said: a cell or a JSON value; only texts are spellings.
    """
    return _KNOWN.get(_IGNORED.sub("", said).lower()) if isinstance(said, str) else None


def is_missing(value: object) -> bool:
    """Return whether a value says that nothing is given: None, NaN, an empty text, ``null``, ``nan``, ..."""
    if value is None:
        return True
    if isinstance(value, float):
        return math.isnan(value)
    return isinstance(value, str) and value.strip().lower() in _MISSING


def one_hot_columns(names: Container[str]) -> list[str]:
    """Return the columns of outcomes among ``names``, or none where those of the two models are not both there."""
    held = [name for name in ONE_HOT if name in names]
    return held if all(name in held for name in ONE_HOT_NEEDED) else []
