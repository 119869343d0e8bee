"""Metrics' names for what people name freely, such as categories: MLflow's characters, and no two names made one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from arena_learning.params import NONE

LONGEST = 100  # characters of one part: two stand in one name, and MLflow takes 250
# Words of MLflow's characters, parted by single blanks or apostrophes: these become underscores, and nothing is lost
# as long as no other name differs in them alone (`apart`).
_PLAIN = re.compile(r"(?!_)[\w.-]+(?:[ '][\w.-]+)*(?<!_)")
_OTHER = re.compile(r"[^\w.-]+")  # letters and digits of any script stay


def slug(text: str) -> str:
    """Return ``text`` as a part of a metric's name: letters, digits, dots, dashes and underscores.

    What cannot stand there as it is gets six digits of its SHA-256 behind what is left, so that ``C``, ``C++`` and
    ``C#`` stay three names.

    Example:
        >>> slug("creative writing"), slug("C++")
        ('creative_writing', 'C-f1deb7')
    """
    if len(text) <= LONGEST and _PLAIN.fullmatch(text) and text.strip("."):
        return _OTHER.sub("_", text)
    return _marked(text)


def apart(names: Iterable[str]) -> dict[str, str]:
    """Return `slug` of each of the names, a marked one where it would be another's: ``a b`` beside ``a_b``."""
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
