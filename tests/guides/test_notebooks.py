"""The notebooks of examples/ run from the first cell to the last, are kept without outputs, and name no machine's paths."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from synthetic_project import build

from pipeline.project import REPOSITORY, environment

pytestmark = pytest.mark.pipeline

EXAMPLES = REPOSITORY / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
# In a process of its own: what Jupyter's packages warn of is not this project's.
RUN = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=300, kernel_name="python3").execute(cwd=sys.argv[2])
nbformat.write(notebook, sys.argv[3])
"""


def test_there_is_a_notebook_for_each_part() -> None:
    names = ["auditing_a_judge", "preference_data", "rating_a_battle_log", "reading_a_run"]
    assert [path.stem for path in NOTEBOOKS] == names


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs_and_without_paths_of_a_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    cells = json.loads(text)["cells"]
    assert all(
        cell["outputs"] == [] and cell["execution_count"] is None
        for cell in cells
        if cell["cell_type"] == "code"
    )
    assert not re.search(r"/(?:home|root|Users|tmp|work)/|[A-Z]:\\\\", text)
    assert len(text) < 12_000


def execute(path: Path, where: Path, out: Path) -> str:
    """Run a notebook in a folder; return what its cells printed and showed."""
    env = environment() | {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(path), str(where), str(out)],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    outputs = [
        one
        for cell in json.loads(out.read_text(encoding="utf-8"))["cells"]
        for one in cell.get("outputs", ())
    ]
    assert not [one for one in outputs if one.get("name") == "stderr"], outputs
    assert any("image/png" in one.get("data", {}) for one in outputs)
    return "".join("".join(one.get("text", "")) for one in outputs)


def test_rating_a_battle_log(tmp_path: Path) -> None:
    said = execute(EXAMPLES / "rating_a_battle_log.ipynb", EXAMPLES, tmp_path / "out.ipynb")
    assert said.count("Difference(") == 2


def test_auditing_a_judge(tmp_path: Path) -> None:
    said = execute(EXAMPLES / "auditing_a_judge.ipynb", EXAMPLES, tmp_path / "out.ipynb")
    assert re.search(r"right in \d+% of \d+ decided pairs", said)


def test_preference_data(tmp_path: Path) -> None:
    said = execute(EXAMPLES / "preference_data.ipynb", EXAMPLES, tmp_path / "out.ipynb")
    kept = re.search(r"(\d+) battles, (\d+) unscored, (\d+) too close, (\d+) kept", said)
    assert kept
    battles, *parts = map(int, kept.groups())
    assert battles == sum(parts)
    assert parts[-1] >= 10


def test_reading_a_run(tmp_path: Path) -> None:
    build(tmp_path / "project")
    said = execute(EXAMPLES / "reading_a_run.ipynb", tmp_path / "project", tmp_path / "out.ipynb")
    assert "rounds: sft-i1, dpo-i1" in said
    assert "sft-i1: 24 battles" in said
