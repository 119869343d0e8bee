"""The scenes, the endpoint and the tiny model on the path, and one folder for what the scenes build."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "openai")]


@pytest.fixture(scope="session")
def workshop(tmp_path_factory):
    """The folder in which the tiny model is built, once."""
    return tmp_path_factory.mktemp("workshop")


@pytest.fixture
def old(tmp_path):
    """Make a store in the layout of older versions, with rows from before today."""
    from old_layout import make_old

    return lambda rows, name="store.sqlite": make_old(tmp_path / name, rows)
