"""The commands of README.md and of the first guide run, in a project whose model and splits are made small.

What a test cannot run is listed with its reason; of that, commands and options are held against the command line by
tests/unit/test_docs.py, and targets, extras and file names here.
"""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path

import pytest
import yaml

from mistakes.hour import tiny_params
from pipeline.project import REPOSITORY, run
from tiny import build_tiny_model

pytestmark = pytest.mark.pipeline

PAGES = {"README": REPOSITORY / "README.md", "start": REPOSITORY / "docs" / "guide" / "start.md"}
FENCE = re.compile(r"^```(?:console|bash|sh|shell)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NOT_RUN = {
    "git clone": "the address is the reader's",
    "make repro": "a quarter of an hour; its steps (doctor, repro, track, leaderboard) run here on a small project",
    "make ui": "serves until Ctrl-C; `arena ui` has its own test",
    "pip install": "asks a package index; tests/pipeline/test_wheel.py installs the wheel",
}
# The project of the test is drawn from fewer instructions than the page's.
DRAWN = re.compile(r"\b(?:writing|coding)-\d{3}\b")


def commands(page: str) -> list[str]:
    """The commands of a page's shell blocks, in order; those joined by && one by one."""
    found = []
    for body in FENCE.findall(PAGES[page].read_text(encoding="utf-8")):
        for line in body.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                whole = re.sub(r"\s+#.*", "", line.removeprefix("$ "))
                found += [" ".join(part.split()) for part in whole.split("&&")]
    return found


def reason(command: str) -> str:
    return next((why for start, why in NOT_RUN.items() if command.startswith(start)), "")


def test_every_reason_is_used() -> None:
    every = [command for page in PAGES for command in commands(page)]
    assert not [start for start in NOT_RUN if not any(command.startswith(start) for command in every)]
    assert len(every) > 15


@pytest.mark.parametrize("page", PAGES)
def test_what_is_not_run_names_targets_and_extras_that_exist(page: str) -> None:
    targets = re.findall(
        r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    for command in filter(reason, commands(page)):
        program, *words = command.split()
        if program == "make":
            assert words[0] in targets
        elif program == "pip":
            for wheel, extras in re.findall(r"(\S+)\[([\w,]+)\]", command):
                assert set(extras.split(",")) <= PROJECT["optional-dependencies"].keys()
                assert f"-{PROJECT['version']}-" in wheel, f"{page}: {wheel} is not {PROJECT['version']}"


class Reader:
    """Types the commands of a page; `cd` holds for what follows."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said = folder, dict[str, str]()

    def type(self, command: str) -> str:
        if command.startswith("cd "):
            self.folder = self.folder / command.removeprefix("cd ")
            return ""
        self.said[command] = run(self.folder, "bash", "-c", command, timeout=560)
        return self.said[command]


def make_small(root: Path, model: Path) -> None:
    """Choose a tiny model, a few instructions and two short trainings in the project that `arena init` has made."""
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    tiny_params(model)(params)
    params["pool"] |= {"splits": {"d1": 6, "d2": 4}, "validation": 2, "test": 6}
    params["battle"]["samples"] = 2
    for method in ("sft", "dpo"):
        params["train"][method] |= {"epochs": 1, "batch_size": 2}
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


@pytest.mark.slow
def test_the_first_guide_can_be_followed(tmp_path: Path) -> None:
    model = build_tiny_model(tmp_path / "tiny", tied=False)
    reader = Reader(tmp_path)
    for name in ("questions.csv", "answers.jsonl"):
        shutil.copy(Path(__file__).parent / "material" / name, tmp_path / name)
    typed = [one for page in ("README", "start") for one in commands(page) if not reason(one)]
    home, ran = tmp_path, 0
    for command in dict.fromkeys(typed):
        if command == "cd arena-learning":
            continue  # the clone
        if "questions.csv" in command:
            # Another project, in another folder than the first.
            Reader(tmp_path).type(command.replace("my-arena", "my-other-arena"))
            assert (tmp_path / "my-other-arena" / "params.yaml").is_file()
            ran += 1
            continue
        if command == "dvc repro --dry":
            change_the_threshold(home)
        said = reader.type(drawn_here(command, home))
        ran += 1
        if command == "cd my-arena":
            home = reader.folder
            make_small(home, model)
        if command == "dvc repro --dry":
            assert "dataset@dpo-i1" in said
            assert "Running stage 'battle@" not in said
            assert "Running stage 'judge@" not in said
    assert ran >= 9
    for command in ("arena doctor", "arena track", "arena leaderboard --print"):
        assert reader.type(command)
    assert "sft-i1" in reader.said["arena leaderboard --print"]
    assert (home / "reports" / "index.html").is_file()


def drawn_here(command: str, home: Path) -> str:
    """Put an instruction of this project's first round in the place of the page's."""
    battles = home / "data" / "rounds" / "sft-i1" / "battles.jsonl"
    if not DRAWN.search(command) or not battles.is_file():
        return command
    rows = [json.loads(line) for line in battles.read_text(encoding="utf-8").splitlines()]
    one = next(row for row in rows if {row["a"], row["b"]} == {"base", "expert"})
    return DRAWN.sub(one["instruction_id"], command)


def change_the_threshold(home: Path) -> None:
    """Do what the page says before it: another threshold for dpo-i1."""
    params = yaml.safe_load((home / "params.yaml").read_text(encoding="utf-8"))
    params["rounds"]["dpo-i1"]["threshold"] = 3.0
    (home / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
