"""Text that a model wrote, made safe to look at: it neither acts on the terminal nor turns a line around."""

from __future__ import annotations

import json
import re
import unicodedata

# Joiners that emoji and several scripts need; every other format character is shown by its code.
_HARMLESS = {"\u200c", "\u200d"}
_SHOWN_AS_CODE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# The same characters as JSON must escape them: json itself escapes those below U+0020 only.
_UNSAFE_IN_JSON = re.compile(
    "[\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)


def sanitized(text: str) -> str:
    """Return ``text`` with control and format characters written as codes; line breaks and tabs stay.

    A terminal escape becomes the four characters of its code, a right-to-left override the six of its own.
    Letters of any script stay as they are.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if _harmless(char) else _code(char) for char in text.replace("\r\n", "\n"))


def safe_json(value: object) -> str:
    """Return ``value`` as indented JSON whose strings hold no character that acts on a terminal."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    return _UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def clip(text: str, longest: int) -> str:
    """Return ``text``, its end left out and counted if it is longer than ``longest`` characters."""
    if len(text) <= longest:
        return text
    return f"{text[:longest]} [… {len(text) - longest} more characters]"


def _harmless(char: str) -> bool:
    return char in "\n\t" or char in _HARMLESS or unicodedata.category(char) not in _SHOWN_AS_CODE


def _code(char: str) -> str:
    point = ord(char)
    if point < 0x100:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"
