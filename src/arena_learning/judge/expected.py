"""Scores as expected values over the judge model's token probabilities.

A judge that writes 7 may have been as close to 8 as to 6. Where the engine returns the top log-probabilities of each
token, the score is the mean of the numbers possible there, weighted by probability. Such scores are finer than whole
numbers, and ties are rare.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import exp

from arena_learning.engines import Token
from arena_learning.judge.parse import Found, Scores

VERSION = "1"
TOP_LOGPROBS = 20  # tokens to request at each position: ten numbers, with and without a space before them
_LEAST = 0.5  # least total probability of the numbers from 1 to 10
_NUMBER = re.compile(r"\W*(10|[1-9])\W*")


def expected_scores(tokens: Sequence[Token], found: Found) -> Scores:
    """Return the expected scores at ``found.places``, positions in the joined texts of ``tokens``.

    The second score is conditional on the first score as written. Where ``found`` has no scores, it stays unscored.
    """
    if found.places is None or found.scores.a is None or found.scores.b is None:
        return found.scores
    if not tokens:
        return Scores(None, None, "the engine told no probabilities")
    values = [
        _expected(tokens, place, said)
        for place, said in zip(found.places, (found.scores.a, found.scores.b), strict=True)
    ]
    if any(value is None for value in values):
        return Scores(None, None, "less than half of the probability lies on scores")
    return Scores(values[0], values[1])


def _expected(tokens: Sequence[Token], place: int, said: float) -> float | None:
    """Return the expected number at ``place`` of the text, where ``said`` was written; None if numbers are unlikely."""
    number = _at(tokens, place)
    here = tokens[number]
    follows = tokens[number + 1] if number + 1 < len(tokens) else None
    chosen = _value(here.text)
    weights: dict[float, float] = {}
    for text, log in here.top_logprobs:
        value = _value(text)
        if value is None:
            continue
        if value == 1 and chosen != 1 and not any(_value(other) == 10 for other, _ in here.top_logprobs):
            continue  # "1" may be the first half of 10; as another token was chosen, it cannot be told
        weights[value] = weights.get(value, 0.0) + exp(log)
    if chosen == 1 and follows is not None:
        ten = sum(exp(log) for text, log in follows.top_logprobs if text.startswith("0"))
        weights[10] = weights.get(10, 0.0) + weights.get(1, 0.0) * ten
        weights[1] = weights.get(1, 0.0) * (1 - ten)
    whole = sum(weights.values())
    if whole < _LEAST:
        return None
    # The written number may have decimals: 7.5 begins with the token 7.
    exact = {value: said if value == int(said) else value for value in weights}
    return sum(exact[value] * weight for value, weight in weights.items()) / whole


def _at(tokens: Sequence[Token], place: int) -> int:
    """Return the index of the token that contains the character at ``place``."""
    end = 0
    for number, token in enumerate(tokens):
        end += len(token.text)
        if place < end:
            return number
    raise IndexError(place)


def _value(text: str) -> float | None:
    found = _NUMBER.fullmatch(text)
    return float(found[1]) if found else None
