"""Reading scores out of what a judge model wrote. The last well-formed verdict counts; anything else is unscored."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

# A score line, or a second score behind the first on its line. Neither pattern crosses a line.
_SCORE = re.compile(
    r"(?:^[ \t*_#>-]*|(?<=\d)[*_]*[,;|]?[ \t]+[*_]*)"
    r"Score[ \t_-]*([AB])[ \t*_]*[:=：＝][ \t*_]*(-?\d{1,9}(?:\.\d{1,9})?)(?![\d.]*\d)(?:[ \t]*/[ \t]*10\b)?",
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


class Found(NamedTuple):
    """The scores in a text, and the places in it where the numbers of A and of B begin (None without scores)."""

    scores: Scores
    places: tuple[int, int] | None = None


def read_scores(text: str) -> Scores:
    """Return the last complete verdict in ``text``; see `find_scores`."""
    return find_scores(text).scores


def read_json_scores(text: str) -> Scores:
    """Return the scores of the last well-formed JSON object in ``text`` that has both; see `find_json_scores`."""
    return find_json_scores(text).scores


def find_scores(text: str) -> Found:
    """Find the last complete verdict in ``text``: a ``Score-A`` line followed by a ``Score-B`` line (or B then A).

    Scores outside 1-10 are malformed, not clipped.
    """
    found = [(m.group(1).upper(), (float(m.group(2)), m.start(2))) for m in _SCORE.finditer(text)]
    if not found:
        return _none("no score line" if text.strip() else "an empty verdict")
    last: dict[str, tuple[float, int]] | None = None
    pending: dict[str, tuple[float, int]] = {}
    for letter, score in found:
        # A letter said again starts anew: what stood before it is no verdict.
        pending = {letter: score} if letter in pending else {**pending, letter: score}
        if len(pending) == 2:
            last, pending = pending, {}
    if last is None:
        return _none(f"only a score for {found[-1][0]}")
    return _checked(last["A"][0], last["B"][0], (last["A"][1], last["B"][1]))


def find_json_scores(text: str) -> Found:
    """Find the last well-formed JSON object in ``text`` that has both, ``Score-A`` and ``Score-B``.

    Strict: the scores are numbers (not words, not booleans), and no key stands twice. A line break inside a text is let
    pass, though JSON wants it escaped.
    """
    if not text.strip():
        return _none("an empty verdict")
    last = None
    for item, start, end in _objects(text):
        if all(key in item for key in _KEYS.values()):
            last = (item, start, end)
    if last is None:
        return _none("no JSON object with both scores")
    item, start, end = last
    a, b = (item[key] for key in _KEYS.values())
    if not all(isinstance(score, int | float) and not isinstance(score, bool) for score in (a, b)):
        return _none("a score that is no number")
    # Inside a text of the object a quote has a backslash before it, so that this is the key itself.
    one, two = (re.search(rf'"{key}"\s*:\s*()', text[start:end]) for key in _KEYS.values())
    return _checked(a, b, (start + one.start(1), start + two.start(1)) if one and two else None)


def _none(problem: str) -> Found:
    return Found(Scores(None, None, problem))


def _checked(a: float, b: float, places: tuple[int, int] | None) -> Found:
    if not all(1 <= score <= 10 for score in (a, b)):
        return _none(_OUTSIDE)
    return Found(Scores(float(a), float(b)), places)


def _objects(text: str) -> list[tuple[dict[str, Any], int, int]]:
    """Return the outermost JSON objects in ``text``, in order, with where they begin and end."""
    decoder = json.JSONDecoder(object_pairs_hook=_no_doubles, strict=False)  # models break lines in texts
    found: list[tuple[dict[str, Any], int, int]] = []
    end = 0
    for brace in [match.start() for match in re.finditer(r"\{", text)][-_MOST_BRACES:]:
        if brace < end:
            continue  # inside the last object
        try:
            item, end = decoder.raw_decode(text, brace)
        except (ValueError, RecursionError):
            continue
        found.append((item, brace, end))
    return found


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)
