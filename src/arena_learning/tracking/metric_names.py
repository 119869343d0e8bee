"""Metric names for free names such as categories: only characters that MLflow allows, and no two names become one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from arena_learning.params import NONE

LONGEST = 100  # characters of one part; a name has two parts, and MLflow allows 250
# Words of allowed characters, separated by single spaces or apostrophes: these become underscores, which is unambiguous
# unless another name differs only there (`apart`).
_PLAIN = re.compile(r"(?!_)[\w.-]+(?:[ '][\w.-]+)*(?<!_)")
_OTHER = re.compile(r"[^\w.-]+")  # letters and digits of any script are kept


def slug(text: str) -> str:
    """Return ``text`` as a part of a metric name: letters, digits, dots, dashes and underscores.

    Where other characters are removed, six digits of the text's SHA-256 are appended, so that ``C``, ``C++`` and ``C#``
    stay different.

    Example:
        >>> slug("creative writing"), slug("C++")
        ('creative_writing', 'C-f1deb7')
    """
    if len(text) <= LONGEST and _PLAIN.fullmatch(text) and text.strip("."):
        return _OTHER.sub("_", text)
    return _marked(text)


def apart(names: Iterable[str]) -> dict[str, str]:
    """Return the `slug` of each name, with a digest where two would be equal: ``a b`` beside ``a_b``."""
    listed = list(names)
    found = {name: name for name in listed if slug(name) == name}
    for name in listed:
        if name not in found:
            taken = slug(name) in found.values()
            found[name] = _marked(name, digits=12) if taken else slug(name)
    return {name: found[name] for name in listed}


def _marked(text: str, digits: int = 6) -> str:
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:digits]
    left = _OTHER.sub("_", text[: LONGEST - 13]).strip("_.")
    return f"{left or NONE}-{digest}"
