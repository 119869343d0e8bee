"""One small project, made by `arena init` as a newcomer makes it, and copied for each mistake."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from mistakes.hour import COUNT, Hour, tiny_params
from pipeline.project import REPOSITORY, environment, run
from tiny import build_tiny_model

sys.path.append(str(Path(__file__).parents[1] / "openai"))  # `endpoint`


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """The project: instructions with rubrics and an opponent's answers, both of one's own."""
    folder = tmp_path_factory.mktemp("made")
    lines = (REPOSITORY / "data" / "pool.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines][:COUNT]
    for row in rows:
        row["rubric"] = [point for point in row["rubric"] if point["kind"] != "semantic"]
    (folder / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    names = {row["id"] for row in rows}
    answers = (REPOSITORY / "data" / "opponents" / "expert.jsonl").read_text(encoding="utf-8").splitlines()
    kept = [line for line in answers if json.loads(line)["id"] in names]
    (folder / "strong.jsonl").write_text("\n".join(kept) + "\n", encoding="utf-8")
    command = ["arena", "init", "project", "--pool", "mine.jsonl", "--opponent", "strong=strong.jsonl"]
    run(folder, *command, "--model", str(tiny_model))
    return folder / "project"


def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give this process the environment that commands of a project get."""
    for name in ("DVC_ROOT", "DVC_EXP_NAME", "GIT_DIR", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment().items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def hour(
    made: Path,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Hour:
    """A copy of the project."""
    quiet(monkeypatch)
    root = tmp_path / "project"
    shutil.copytree(made, root, symlinks=True)
    found = Hour(root, monkeypatch, capsys)
    found.set(tiny_params(tiny_model))
    return found


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Hour:
    """An empty folder."""
    quiet(monkeypatch)
    root = tmp_path / "empty"
    root.mkdir()
    return Hour(root, monkeypatch, capsys)
