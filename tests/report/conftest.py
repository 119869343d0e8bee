"""Shared by the report's tests: one synthetic project, read only."""

from __future__ import annotations

import pytest
from synthetic_project import build


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """Return parameters and paths of a project of two rounds and five contestants, leaderboard included."""
    return build(tmp_path_factory.mktemp("project"))
