"""The paper's ten models, made once by a real `dvc repro` for all the tests that read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.project import make_project, run
from sample import table_one
from tiny import build_tiny_model


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    """A project after its first `dvc repro`: Table 1 of the paper, three instructions a split."""
    root = tmp_path_factory.mktemp("flywheel")
    make_project(root, tiny_base, rounds=table_one(), splits={f"d{n}": 3 for n in range(10)}, test=4)
    run(root, "dvc", "repro", timeout=560)
    run(root, "git", "add", "-A")
    run(root, "git", "commit", "-qm", "ten models")
    return root
