"""Nested parameters under dotted names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_WHOLE = ("templates", "extra_body")  # mappings that are one value


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested sections as values by their paths in params.yaml."""
    found: dict[str, Any] = {}
    for key, item in value.items():
        path = f"{prefix}{key}"
        if isinstance(item, Mapping) and key not in _WHOLE:
            found |= flat(item, f"{path}.")
        else:
            found[path] = item
    return found
