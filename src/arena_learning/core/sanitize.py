"""Make quoted texts safe to display: no terminal escapes, no characters that change the direction of a line."""

from __future__ import annotations

import json
import re
import unicodedata

# Joiners that emoji and several scripts need; all other format characters are replaced by their codes.
_HARMLESS = {"\u200c", "\u200d"}
_SHOWN_AS_CODE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# The same characters for JSON, which itself escapes only those below U+0020.
_UNSAFE_IN_JSON = re.compile(
    "[\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)


def sanitized(text: str) -> str:
    """Return ``text`` with control and format characters as codes; line breaks, tabs and letters are kept.

    Example:
        >>> print(sanitized("\\x1b[31mred"))
        \\x1b[31mred
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if _harmless(char) else _code(char) for char in text.replace("\r\n", "\n"))


def safe_json(value: object) -> str:
    """Return ``value`` as indented JSON without characters that act on a terminal."""
    return _escaped(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def line_json(value: object) -> str:
    """Return ``value`` as JSON in one line without characters that act on a terminal."""
    return _escaped(json.dumps(value, ensure_ascii=False))


def clip(text: str, longest: int) -> str:
    """Return ``text``; if it is longer than ``longest`` characters, cut, with the number of characters left out."""
    if len(text) <= longest:
        return text
    return f"{text[:longest]} [… {len(text) - longest} more characters]"


def _escaped(text: str) -> str:
    return _UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def _harmless(char: str) -> bool:
    return char in "\n\t" or char in _HARMLESS or unicodedata.category(char) not in _SHOWN_AS_CODE


def _code(char: str) -> str:
    point = ord(char)
    if point < 0x100:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"
