"""What the hosting service and container tools read: it agrees with the Makefile and pyproject.toml."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def steps(workflow: Path) -> list[dict[str, object]]:
    jobs = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


def test_there_is_a_workflow_for_each_purpose():
    assert [path.stem for path in WORKFLOWS] == ["docs", "lint", "release", "tests"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs_targets_and_files_that_exist_with_the_least_rights(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    assert all(job["timeout-minutes"] for job in workflow["jobs"].values())
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    for step in steps(path):
        said = str(step.get("run", ""))
        assert set(re.findall(r"\bmake ([\w-]+)", said)) <= set(targets)
        assert all((ROOT / name).exists() for name in re.findall(r"\btests/[\w/.]+", said))
        if str(step.get("uses", "")).startswith("actions/checkout"):
            assert step["with"] == {"persist-credentials": False}


def linter(program: str) -> str:
    """A program beside this Python or on PATH."""
    found = shutil.which(program, path=str(Path(sys.executable).parent)) or shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed: it has no package for every machine (see CONTRIBUTING.md)")
    return found


@pytest.mark.parametrize(
    "command",
    [("hadolint", "Dockerfile"), ("zizmor", "--offline", "--no-progress", ".github"), ("actionlint",)],
    ids=lambda command: command[0],
)
def test_linters_find_nothing(command):
    done = subprocess.run(
        [linter(command[0]), *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_tests_run_on_every_python_that_the_package_supports():
    linux = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8"))["jobs"][
        "linux"
    ]
    versions = linux["strategy"]["matrix"]["python"]
    assert f">={versions[0]}" == PROJECT["project"]["requires-python"]
    assert versions == ["3.11", "3.12", "3.13"]


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_asks_each_question_once(path):
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert form["name"]
    assert form["description"]
    names = [field["id"] for field in form["body"]]
    assert len(names) == len(set(names)) > 1


def test_the_citation_is_of_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == PROJECT["project"]["version"]
    assert cited["license"] == PROJECT["project"]["license"]


def test_the_image_copies_what_exists_and_installs_extras_that_exist():
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    copied = re.findall(r"^COPY (?!--from)(\S+) ", text, flags=re.MULTILINE)
    assert set(copied) == {"constraints.txt", "."}
    extras = {name for found in re.findall(r"\[([\w,]+)\]\"", text) for name in found.split(",")}
    assert extras
    assert extras <= PROJECT["project"]["optional-dependencies"].keys()
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    needed = {
        *PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"],
        "src",
        "LICENSE",
        "README.md",
    }
    assert not {name for name in needed if any(name == one or name.startswith(f"{one}/") for one in ignored)}
