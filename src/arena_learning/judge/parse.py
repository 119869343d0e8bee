"""Read scores from a judge model's reply. The last well-formed verdict counts; anything else is unscored.

`verdict_text` removes the judge's thought; `number` defines what counts as a score.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from arena_learning.judge.number import is_changed, plain_number, quoted, read_value

# Increased whenever the parser reads replies differently: stored replies are then read again.
PARSER_VERSION = "3"
_WORD = r"Score[ \t_-]*([AB])[ \t*_`]*[:=：＝][ \t*_]*"
_HEAD = re.compile(r"^[ \t*_#>|•`-]*" + _WORD, re.I | re.M)
# Another score on the same line.
_ANYWHERE = re.compile(r"(?<!\w)" + _WORD, re.I)
_LINE_END = re.compile(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_KEYS = {"A": "Score-A", "B": "Score-B"}
_MOST_BRACES = 1000  # opening braces, counted from the end, that are tried as the start of an object
_OUTSIDE = "a score outside 1 to 10"


class Scores(NamedTuple):
    """Both scores, or the problem why there are none."""

    a: float | None
    b: float | None
    problem: str | None = None


class Found(NamedTuple):
    """The scores in a text.

    Attributes:
        scores: both scores, or the problem.
        places: indices in the text where the numbers of A and B begin; None without scores.
        complete: whether the text holds a whole verdict, even a malformed one.
    """

    scores: Scores
    places: tuple[int, int] | None = None
    complete: bool = True


class _Line(NamedTuple):
    """A score line: its letter, its number and index; ``quote`` is the line as written, for the reason."""

    letter: str
    score: float | None
    place: int
    quote: str
    is_words: bool


def read_scores(text: str) -> Scores:
    """Return the last complete verdict in ``text``; see `find_scores`."""
    return find_scores(text).scores


def read_json_scores(text: str) -> Scores:
    """Return the scores of the last well-formed JSON object in ``text`` with both scores; see `find_json_scores`."""
    return find_json_scores(text).scores


def find_scores(text: str) -> Found:
    """Find the last complete verdict in ``text``: a ``Score-A`` line followed by a ``Score-B`` line (or B then A).

    A score is a whole or decimal number (point or comma) that nothing after it changes. Scores outside 1-10 are
    malformed, not clipped.

    Example:
        >>> find_scores("Score-A: 8/10, Score-B: 7,5").scores
        Scores(a=8.0, b=7.5, problem=None)
        >>> find_scores("Score-A: 7-8\\nScore-B: 6").scores.problem
        "no plain score in 'Score-A: 7-8'"
    """
    lines = list(_lines(text))
    if not lines:
        return none_found("no score line" if text.strip() else "an empty verdict")
    last: dict[str, _Line] | None = None
    pending: dict[str, _Line] = {}
    for line in lines:
        if line.is_words:
            continue  # an explanation under the same name
        # A repeated letter starts a new verdict: what came before it is incomplete.
        pending = {line.letter: line} if line.letter in pending else {**pending, line.letter: line}
        if len(pending) == 2:
            last, pending = pending, {}
    if last is None:
        return none_found(_incomplete(lines))
    a, b = last["A"], last["B"]
    if a.score is None or b.score is None:
        return Found(Scores(None, None, _no_plain(a if a.score is None else b)))
    return _checked(a.score, b.score, (a.place, b.place))


def find_json_scores(text: str) -> Found:
    """Find the last well-formed JSON object in ``text`` that has both ``Score-A`` and ``Score-B``.

    Strict: the scores are numbers (not strings or booleans) and no key is repeated. Unescaped line breaks in strings
    are allowed, although JSON forbids them.
    """
    if not text.strip():
        return none_found("an empty verdict")
    last = None
    for item, start, end in _objects(text):
        if all(key in item for key in _KEYS.values()):
            last = (item, start, end)
    if last is None:
        return none_found("no JSON object with both scores")
    item, start, end = last
    a, b = (item[key] for key in _KEYS.values())
    for score in (a, b):
        if not isinstance(score, int | float) or isinstance(score, bool):
            shown = quoted(json.dumps(score, ensure_ascii=False))
            return Found(Scores(None, None, f"a score that is no number: {shown}"))
    # Quotes inside a JSON string are escaped, so this match is the key itself.
    one, two = (re.search(rf'"{key}"\s*:\s*()', text[start:end]) for key in _KEYS.values())
    return _checked(a, b, (start + one.start(1), start + two.start(1)) if one and two else None)


def none_found(problem: str) -> Found:
    """Return the result for a text without a complete verdict."""
    return Found(Scores(None, None, problem), complete=False)


def _lines(text: str) -> Iterator[_Line]:
    """Yield the scores at the start of a line and those that follow on the same line."""
    end = 0
    for head in _HEAD.finditer(text):
        if head.start() < end:
            continue
        start = head.start()
        broken = _LINE_END.search(text, head.end())
        end = broken.start() if broken else len(text)
        line = plain_number(text[start:end])
        found: re.Match[str] | None = head
        while found:
            begin = found.end() - start
            value = read_value(line, begin)
            follows = _ANYWHERE.search(text, start + max(begin, value.end), end)
            until = follows.start() if follows else end
            changed = value.score is not None and is_changed(line[value.end : until - start].rstrip())
            yield _Line(
                found[1].upper(),
                None if changed else value.score,
                start + value.start,
                quoted(text[found.start() : until].strip(" \t*_#>|•`-,;")),
                value.is_words,
            )
            found = follows


def _incomplete(lines: list[_Line]) -> str:
    unread = next((line for line in reversed(lines) if line.score is None), None)
    return _no_plain(unread) if unread else f"only a score for {lines[-1].letter}"


def _no_plain(line: _Line) -> str:
    return f"no plain score in {line.quote}"


def _checked(a: float, b: float, places: tuple[int, int] | None) -> Found:
    if not all(1 <= score <= 10 for score in (a, b)):
        return Found(Scores(None, None, _OUTSIDE))
    return Found(Scores(float(a), float(b)), places)


def _objects(text: str) -> list[tuple[dict[str, Any], int, int]]:
    """Return the outermost JSON objects in ``text``, in order, with their start and end indices."""
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
        raise ValueError("a key is repeated")
    return dict(pairs)
