"""Reading scores out of what a judge model wrote. The last well-formed verdict counts; anything else is unscored."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

# A score line, or a second score behind the first on its line. Neither pattern crosses a line.
_SCORE = re.compile(
    r"(?:^[ \t*_#>-]*|(?<=\d)[*_]*[,;|]?[ \t]+[*_]*)"
    r"Score[ \t_-]*([AB])[ \t*_]*[:=][ \t*_]*(-?\d{1,9}(?:\.\d{1,9})?)(?![\d.]*\d)(?:[ \t]*/[ \t]*10\b)?",
    re.I | re.M,
)
_KEYS = {"A": "Score-A", "B": "Score-B"}
_MOST_BRACES = 1000  # opening braces, from the end, that are tried as the start of an object
_OUTSIDE = "a score outside 1 to 10"


class Scores(NamedTuple):
    """Both scores, or the reason why there are none."""

    a: float | None
    b: float | None
    problem: str | None = None


def read_scores(text: str) -> Scores:
    """Return the last complete verdict in ``text``: a ``Score-A`` line followed by a ``Score-B`` line (or B then A).

    Scores outside 1-10 are malformed, not clipped.
    """
    found = [(m.group(1).upper(), float(m.group(2))) for m in _SCORE.finditer(text)]
    if not found:
        return Scores(None, None, "no score line" if text.strip() else "an empty verdict")
    last: dict[str, float] | None = None
    pending: dict[str, float] = {}
    for letter, score in found:
        # A letter said again starts anew: what stood before it is no verdict.
        pending = {letter: score} if letter in pending else {**pending, letter: score}
        if len(pending) == 2:
            last, pending = pending, {}
    if last is None:
        return Scores(None, None, f"only a score for {found[-1][0]}")
    return _checked(last["A"], last["B"])


def read_json_scores(text: str) -> Scores:
    """Return the scores of the last well-formed JSON object in ``text`` that has both, ``Score-A`` and ``Score-B``.

    Strict: the scores are numbers (not words, not booleans), and no key stands twice.
    """
    if not text.strip():
        return Scores(None, None, "an empty verdict")
    last = None
    for item in _objects(text):
        if all(key in item for key in _KEYS.values()):
            last = item
    if last is None:
        return Scores(None, None, "no JSON object with both scores")
    scores = [last[key] for key in _KEYS.values()]
    if not all(isinstance(score, int | float) and not isinstance(score, bool) for score in scores):
        return Scores(None, None, "a score that is no number")
    return _checked(*scores)


def _checked(a: float, b: float) -> Scores:
    if not all(1 <= score <= 10 for score in (a, b)):
        return Scores(None, None, _OUTSIDE)
    return Scores(float(a), float(b))


def _objects(text: str) -> list[dict[str, Any]]:
    """Return the outermost JSON objects in ``text``, in order."""
    decoder = json.JSONDecoder(object_pairs_hook=_no_doubles)
    found, end = [], 0
    for brace in [match.start() for match in re.finditer(r"\{", text)][-_MOST_BRACES:]:
        if brace < end:
            continue  # inside the last object
        try:
            item, end = decoder.raw_decode(text, brace)
        except (ValueError, RecursionError):
            continue
        found.append(item)
    return found


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)
