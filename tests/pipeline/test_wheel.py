"""The wheel, installed into an environment of its own: a project outside of the clone is made, runs, and sees code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
import yaml

from pipeline.project import REPOSITORY, environment, install_beside

pytestmark = [pytest.mark.pipeline, pytest.mark.slow]

STARTER = "arena_learning/starter/"
# The first instructions of each category, without points that need embeddings.
COUNT = 30


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source archive, as a release is."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(REPOSITORY)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = out.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that holds the wheel, and finds this environment's other packages."""
    home = tmp_path_factory.mktemp("installed") / "env"
    return install_beside(wheel, home, Path(sysconfig.get_path("purelib")))


def call(programs: Path, folder: Path, *command: str, code: int = 0) -> str:
    env = environment()
    env.pop("PYTHONPATH", None)
    env["PATH"] = f"{programs}{os.pathsep}{env['PATH']}"
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=560
    )
    said = done.stdout + done.stderr
    assert done.returncode == code, f"{' '.join(command)} -> {done.returncode}\n{said[-6000:]}"
    return said


def test_the_wheel_holds_the_package_and_what_a_project_starts_with(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "src", "profiles", "data", "dvc.yaml", ".gitignore", ".dvcignore"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    for name in tracked:
        place = name.removeprefix("src/") if name.startswith("src/") else STARTER + name
        assert held[place] == (REPOSITORY / name).read_bytes(), place
    metadata = {name for name in held if ".dist-info/" in name}
    assert len(held) == len(tracked) + len(metadata)


def small_pool(folder: Path) -> tuple[Path, Path]:
    """Write a pool and an opponent's answers to it, as a user would bring them."""
    lines = (REPOSITORY / "data" / "pool.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines][:COUNT]
    for row in rows:
        row["rubric"] = [point for point in row["rubric"] if point["kind"] != "semantic"]
    pool, answers = folder / "mine.jsonl", folder / "strong.jsonl"
    pool.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    ids = {row["id"] for row in rows}
    recorded = (REPOSITORY / "data" / "opponents" / "expert.jsonl").read_text(encoding="utf-8").splitlines()
    kept = [line for line in recorded if json.loads(line)["id"] in ids]
    answers.write_text("\n".join(kept) + "\n", encoding="utf-8")
    return pool, answers


def test_a_project_outside_of_the_clone_runs_and_sees_when_the_package_changes(
    programs: Path, tiny_base: Path, tmp_path: Path
) -> None:
    where = call(programs, tmp_path, "python", "-c", "import arena_learning; print(arena_learning.__file__)")
    assert Path(where.strip()).is_relative_to(programs.parent)
    pool, answers = small_pool(tmp_path)
    options = ("--pool", str(pool), "--model", str(tiny_base), "--opponent", f"strong={answers}")
    said = call(programs, tmp_path, "arena", "init", "project", *options)
    assert f"splits fitted to {COUNT} instructions" in said
    root = tmp_path / "project"
    assert not (root / "src").exists()
    make_quick(root / "params.yaml")
    call(programs, root, "dvc", "repro")
    board = json.loads((root / "reports" / "leaderboard.json").read_text(encoding="utf-8"))
    assert {row["model"] for row in board["ratings"]} == {"base", "strong", "sft-i1"}
    assert "no stage to run" in without_inputs(call(programs, root, "arena", "repro", "--dry"))

    (judge,) = programs.parent.glob("lib/*/site-packages/arena_learning/judge/merge.py")
    judge.write_text(judge.read_text(encoding="utf-8") + "# a change\n", encoding="utf-8")
    plan = call(programs, root, "arena", "repro", "--dry")
    assert "judge@sft-i1" in plan
    assert "evaluate" in plan
    assert "battle@sft-i1" not in plan


def without_inputs(plan: str) -> str:
    """Return a plan, where the one stage that runs each time is no stage to run."""
    lines = plan.strip().splitlines()
    only = lines[0].startswith("1 stage to run") and lines[1].split()[0] == "inputs"
    return "no stage to run" if only else plan


def make_quick(file: Path) -> None:
    """Leave one round of the profile, a few tokens an answer, and what needs no embedding."""
    params = yaml.safe_load(file.read_text(encoding="utf-8"))
    params["serving"] = {"engine": "openvino", "dtype": "f16", "batch_size": 8, "device": "cpu"}
    params["sampling"]["max_tokens"] = 12
    params["pool"]["filters"]["contamination"] = 0.0
    params["evaluate"] |= {"bootstrap": 100, "judges": ["rubric"]}
    params["train"] |= {"device": "cpu", "precision": "fp32"}
    params["rounds"] = {"sft-i1": params["rounds"]["sft-i1"]}
    file.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
