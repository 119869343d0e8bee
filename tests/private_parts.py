"""What libraries do not promise and is used all the same: a test says in words which file an upgrade would break."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import Any

import pytest


def part(library: str, module: str, name: str, use: str) -> Any:
    """Return ``module.name`` of a library; fail in words where it has moved."""
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        moved(library, f"{module}.{name}", f"{use} ({error})")


def moved(library: str, what: str, use: str) -> None:
    """Fail: say what is gone, in which version, and what needs it."""
    pytest.fail(
        f"{library} {version(library)}: {what} is not what it was. {use}. Change that file to what {library} has now, "
        f"or hold {library} back in pyproject.toml and constraints.txt.",
        pytrace=False,
    )
