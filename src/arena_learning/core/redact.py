"""Finds secrets in parameters and removes them from error messages.

A secret key belongs in an environment variable: params.yaml is in git, DVC copies parameters to dvc.lock, and errors
quote them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

# Access tokens of well-known services, and the Authorization header that carries one.
_TOKENS = re.compile(
    r"\b(?:sk|pk|rk)-[A-Za-z0-9_-]{12,}"
    r"|\bhf_[A-Za-z0-9]{16,}"
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}"
    r"|\bxox[abprs]-[\w-]{10,}"
    r"|\bAKIA[0-9A-Z]{16}\b|\bAIza[\w-]{30,}"
    r"|\bBearer\s+[\w.~+/-]{12,}",
    re.ASCII,
)
# Keys of a mapping whose value is always a secret (api_key_env is not: it names a variable).
_KEYS = re.compile(
    r"api[_-]?key|authorization|password|passwd|secret|credentials?|(?:access|auth|bearer)[_-]?token", re.I
)


def redacted(text: str) -> str:
    """Return ``text`` with access tokens, and users and passwords in URLs, replaced by ``***``.

    Example:
        >>> redacted("https://me:pw@host/v1 refused Bearer abcdefghijklmno")
        'https://***@host/v1 refused ***'
    """
    return re.sub(r"//[^/@\s]+@", "//***@", _TOKENS.sub("***", text))


def secrets_in(value: Any, place: str = "") -> Iterator[str]:
    """Yield the dotted keys of secrets in nested parameters, never the secrets themselves."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            where = f"{place}.{key}" if place else str(key)
            if _TOKENS.search(str(key)) or (isinstance(item, str) and item and _KEYS.fullmatch(str(key))):
                yield redacted(where)
            else:
                yield from secrets_in(item, where)
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from secrets_in(item, f"{place}.{number}")
    elif isinstance(value, str) and _TOKENS.search(value):
        yield place
