"""Shared by the tracking tests: a project by hand, and a store whose schema (seconds) is made once."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from mlflow_apart import allow_their_warnings, no_server  # noqa: F401

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from arena_files import make_project  # noqa: E402


def pytest_collection_modifyitems(items):
    allow_their_warnings(items, HERE)


def _at_once(code: str, folder: Path) -> list[str]:
    """Run ``code`` in two processes at once; return their standard errors."""
    command = [sys.executable, "-c", code]
    both = [Popen(command, cwd=folder, stderr=PIPE, stdout=PIPE, text=True) for _ in range(2)]
    ended = [process.communicate(timeout=200) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended
    return [error for _, error in ended]


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """An empty store; its schema, which takes seconds, is made by two processes at once: the hard case."""
    root = tmp_path_factory.mktemp("template")
    code = "from pathlib import Path; from arena_learning.core.paths import Paths\n"
    code += "from arena_learning.tracking.mlflow_store import opened\nwith opened(Paths(Path.cwd())): pass"
    _at_once(code, root)
    return root / "mlruns"


@pytest.fixture
def project(tmp_path, template):
    """Parameters and paths of a project with an empty store."""
    made = make_project(tmp_path / "clone")
    shutil.copytree(template, made[1].mlruns)
    return made


@pytest.fixture(scope="session")
def shown(tmp_path_factory, template):
    """Parameters and paths of a project that has been tracked; for tests that only look."""
    from arena_learning.tracking import track_project

    params, paths = make_project(tmp_path_factory.mktemp("shown") / "clone")
    shutil.copytree(template, paths.mlruns)
    report = track_project(params, paths)
    assert (report.warnings, report.failed) == ([], False)
    return params, paths


@pytest.fixture
def tracked(tmp_path, shown):
    """A copy of the tracked project, its store included, to be changed."""
    from arena_learning.core.paths import Paths

    params, paths = shown
    shutil.copytree(paths.root, tmp_path / "clone")
    return params, Paths(tmp_path / "clone")


@pytest.fixture
def at_once():
    """A function that runs code in two processes at once and returns their standard errors."""
    return _at_once
