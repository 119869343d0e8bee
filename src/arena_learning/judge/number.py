"""Read one score as a judge wrote it.

``8``, ``8.5``, ``8,5`` and ``8/10`` are scores; a comment after the number is allowed (``8 (good)``, ``8 - clear and
right``). A range, another scale, a sum, a doubt or a correction is no score: ``7-8``, ``8/100``, ``10 - 3 = 7``,
``8?``, ``8 → 6``. Guessing a number there would invent a verdict.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

_QUOTED = 40  # characters of a line that an unscored reason quotes
_SIGNS = {
    "−": "-",
    "–": "-",
    "—": "-",
    "‐": "-",
    "‑": "-",
    "٫": ".",
    "。": ".",
    "、": ",",
    "⁄": "/",
    "∕": "/",
}
_CLOSES = {"(": ")", "[": "]", "{": "}", "<": ">", '"': '"', "'": "'", "`": "`", "“": "”"}
_NUMBER = re.compile(r"(-?\d{1,9})(?:([.,])(\d{1,9}))?(?!\d)")
_LONGEST_COMMA = 2  # digits after a decimal comma; with three digits it may be a thousands separator
_TEN = r"(?:10(?:[.,]0{1,2})?|ten)(?![\w%]|[.,]\d)"
_SCALE = re.compile(
    r"(?:[ \t]*(?:(?:points?|pts?|marks?|stars?)(?!\w)|[分点점]))?"
    rf"(?:[ \t]*\(?[ \t]*(?:/|(?:out[ \t]+)?of\b)[ \t]*{_TEN}(?:[ \t]*\))?"
    r"|[ \t]*(?:\([ \t]*|(?:\(?on[ \t]+a[ \t]+scale[ \t]+)?(?:of|from)[ \t]+)"
    rf"1[ \t]*(?:to|-)[ \t]*{_TEN}(?:[ \t]*\))?)?",
    re.I,
)
# Characters that may directly follow a score; any other (a letter, %, +, ?, ½) makes it another number.
_AFTER = frozenset(" \t.,;:!)]}>\"'`”’»|*_-<(")
_DOUBT = frozenset("?%‰+±~≈^°√")
_SEPARATORS = frozenset(".,;:!()[]{}\"'`”“-|<*_")
_ARROW = re.compile(r"[-=~]+>|[→⇒➔➜➡⟶↦]")
_NUMBER_WORD = r"(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|half)\b"
_AT_THE_END = r"(?=[^\w\n]*(?:$|[.,;:)\n]))"
_ANY_NUMBER = rf"(?:\d|{_NUMBER_WORD}{_AT_THE_END})"
_GAP = r"(?:[^\w\n]+[^\W\d]+){0,2}[^\w\n]+"
# Words after a score that change it or make it uncertain.
_TURNS = re.compile(
    r"(?:ish|percent|per[ \t]+cent|hundred|thousand|million|at[ \t]+(?:most|least)"
    r"|(?:and[ \t]+)?(?:a[ \t]+)?half(?![ \t]+of)"
    r"|(?:or|and)[ \t]+(?:so|more|less|higher|lower|above|below|up))\b"
    rf"|(?:plus|minus|times)\b(?:[^\w\n]*$|[^\w\n]+{_ANY_NUMBER})"
    rf"|(?:or|to|through|until|till|vs|versus|x|out|of|maybe|perhaps|actually|now|oder|bis|von|sur|sobre|su)\b{_GAP}{_ANY_NUMBER}"
    rf"|(?:and|but|then|no|rather|down|up|wait|hm+|sorry|oops|edit|correction|could|might|should|would|make)\b"
    rf"{_GAP}(?:\d[\d.,]*|{_NUMBER_WORD}){_AT_THE_END}"
    r"|(?:revised|corrected|adjusted|changed|updated|lowered|raised|reduced|increased|dropped|downgraded|upgraded)\b"
    rf"(?![^\w\n]+from\b){_GAP}(?:\d[\d.,]*|{_NUMBER_WORD}){_AT_THE_END}",
    re.I,
)
_REASON = re.compile(r"(?:because|since|as|due|given)\b", re.I)
_COMMENT = re.compile(r"\d+[ \t]+[^\W\d]")  # a number that counts something
_FIRST_WORDS = re.compile(rf"\W*(?:\w+\W+){{0,2}}?(?:\d|{_NUMBER_WORD})", re.I)


class Value(NamedTuple):
    """What follows the colon of a score line.

    Attributes:
        score: the number, whatever its size; None if there is no plain number.
        start: index where the number begins.
        end: index where the number ends, with its scale and closing marks.
        is_words: there are only words (an explanation or a placeholder) and no number.
    """

    score: float | None
    start: int = 0
    end: int = 0
    is_words: bool = False


def plain_number(text: str) -> str:
    """Return ``text`` with all scripts' digits, full-width signs, dashes and spaces as ASCII; the length is kept."""
    return text if text.isascii() else "".join(map(_plain, text))


def read_value(line: str, start: int = 0) -> Value:
    """Read the number at ``start`` of a line; `is_changed` checks what follows it.

    Args:
        line: as `plain_number` returns it, without a line break.
        start: index just after the colon.

    Example:
        >>> read_value("8,5/10, because it is clear")
        Value(score=8.5, start=0, end=6, is_words=False)
    """
    opener = line[start : start + 1] if line[start : start + 1] in _CLOSES else ""
    begin = start + len(opener)
    if opener:
        begin += len(line[begin:]) - len(line[begin:].lstrip(" \t*_"))
    found = _NUMBER.match(line, begin)
    if found is None or (found[2] == "," and len(found[3]) > _LONGEST_COMMA):
        return Value(None, begin, begin, is_words=_FIRST_WORDS.match(line, start) is None)
    end = _closed(line, found.end(), _CLOSES.get(opener, ""))
    if end is None:
        return Value(None, begin, begin)
    return Value(float(f"{found[1]}.{found[3] or 0}"), found.start(), end)


def is_changed(tail: str) -> bool:
    """Whether the rest of a line after a number changes that number or makes it uncertain.

    Example:
        >>> is_changed(" (good)"), is_changed(" - clear"), is_changed(" - 3 = 7"), is_changed(" or 9")
        (False, False, True, True)
    """
    if tail[:1] and tail[0] not in _AFTER:
        return True
    start = next((n for n, character in enumerate(tail) if character.isalnum()), len(tail))
    between, words = tail[:start], tail[start:]
    if _DOUBT & set(between):
        return True
    if not words:
        return False
    if words[0].isnumeric() or re.match(_NUMBER_WORD + _AT_THE_END, words, re.I):
        begins_anew = re.search(r"[.!][ \t]+\W*$", between) or between.strip() == "("
        return not (begins_anew and _COMMENT.match(words))
    if _TURNS.match(words):
        return True
    if _ARROW.search(between) or not _SEPARATORS & set(between):
        return not _REASON.match(words) and any(map(str.isnumeric, words))
    return False


def quoted(line: str) -> str:
    """Return a line, shortened, as an unscored reason quotes it."""
    line = " ".join(line.split())
    return f"'{line}'" if len(line) <= _QUOTED else f"'{line[:_QUOTED]}...'"


def _closed(line: str, end: int, closer: str) -> int | None:
    """Return the end of a number with its emphasis, scale and closing mark; None if the closing mark is missing."""
    end = _marks(line, end)
    if closer and line.startswith(closer, end):
        end, closer = _marks(line, end + 1), ""
    scale = _SCALE.match(line, end)
    end = _marks(line, scale.end() if scale else end)
    if closer:
        if not line.startswith(closer, end):
            return None
        end = _marks(line, end + 1)
    return end


def _marks(line: str, end: int) -> int:
    while line[end : end + 1] in ("*", "_"):
        end += 1
    return end


def _plain(character: str) -> str:
    if character.isascii():
        return character
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    if "！" <= character <= "～":
        return chr(ord(character) - 0xFEE0)
    if unicodedata.category(character) == "Zs":
        return " "
    return _SIGNS.get(character, character)
