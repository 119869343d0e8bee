"""CONTRIBUTING.md is short, and what it names is there."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

from test_rooms import FILES, ORDER
from test_rooms import ROOT as PACKAGE

ROOT = PACKAGE.parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
WORDS = 1300
LONGEST = 110
METHODS = {"sft", "dpo"}


def section(heading: str) -> str:
    return TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def rows(heading: str) -> list[list[str]]:
    """The rows of a section's table, without its head."""
    lines = [line for line in section(heading).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_it_is_short():
    assert len(TEXT.split()) < WORDS
    assert not [line for line in TEXT.splitlines() if len(line) > LONGEST and not line.startswith("|")]


def test_the_map_has_every_room_in_the_order_of_imports_with_its_docstrings_first_line():
    said = [
        [f"`{name}`", (importlib.import_module(f"arena_learning.{name}").__doc__ or "").splitlines()[0]]
        for name in ORDER
    ]
    assert rows("The rooms") == said


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert links
    assert not [link for link in links if not (ROOT / link).exists()]


def test_files_and_folders_that_it_names_are_there():
    named = re.findall(r"`([\w./-]+/[\w./-]*|[\w-]+\.(?:md|toml|txt|yaml))`", TEXT)
    assert len(named) > 30
    assert not [name for name in named if not ((PACKAGE / name).exists() or (ROOT / name).exists())]


def test_make_knows_the_targets():
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    named = set(re.findall(r"(?:^ {4}|`)make ([\w-]+)", TEXT, flags=re.MULTILINE))
    assert {"setup-dev", "test", "test-all", "lint"} <= named <= set(targets)


def test_what_a_file_is_said_to_hold_stands_there():
    """Of the table and the checklists: `NAME` in `FILE`."""
    said = re.findall(r"`(\w+)`[^`|.;]*? in\s+`([\w./]+\.py)`", TEXT)
    assert len(said) > 8
    missing = [
        f"{file}: no {name}"
        for name, file in said
        if not re.search(rf"\b{name}\b", (PACKAGE / file).read_text(encoding="utf-8"))
    ]
    assert not missing


def asks_for_a_method(path: Path) -> bool:
    """Whether a file compares with a method's name, or lists methods as a type."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        is_type = isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal"
        constants = {one.value for one in ast.walk(node) if isinstance(one, ast.Constant)}
        if (is_type or isinstance(node, ast.Compare)) and METHODS & constants:
            return True
    return False


def test_the_checklist_of_a_training_method_names_every_file_that_asks_for_one():
    asking = {str(path.relative_to(PACKAGE)) for path in FILES if asks_for_a_method(path)}
    assert "train/session.py" in asking
    missing = [file for file in sorted(asking) if f"`{file}`" not in section("Add a training method")]
    assert not missing
