"""Shared by the registry's tests: a project by hand, and an empty MLflow store that is made once."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from mlflow_apart import allow_their_warnings, no_server  # noqa: F401

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from gate_project import make_project  # noqa: E402


def pytest_collection_modifyitems(items):
    allow_their_warnings(items, HERE)


@pytest.fixture
def project(tmp_path):
    """Parameters and paths of a project without a section `gate`, in which each round is better than the one before."""
    return make_project(tmp_path / "clone")


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """An MLflow folder whose schema, which takes seconds, has been made."""
    from arena_learning.core.paths import Paths
    from arena_learning.tracking.mlflow_store import opened

    root = tmp_path_factory.mktemp("store")
    with opened(Paths(root)):
        pass
    return root / "mlruns"


@pytest.fixture
def stored(project, empty_store):
    """The project with a store, to be shown in MLflow."""
    shutil.copytree(empty_store, project[1].mlruns)
    return project
