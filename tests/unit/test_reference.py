"""The generated pages of docs/reference say what the code says now."""

from __future__ import annotations

import re
from importlib import util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SPEC = util.spec_from_file_location("make_reference", ROOT / "scripts" / "make_reference.py")
script = util.module_from_spec(SPEC)
SPEC.loader.exec_module(script)


@pytest.mark.parametrize("name", ["params.md", "commands.md", "rows.md"])
def test_the_committed_page_is_what_the_code_makes_now(name):
    committed = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert committed == script.pages()[name], f"docs/reference/{name} is out of date: run `{script.COMMAND}`"


def test_the_pages_are_all_that_the_script_makes():
    assert set(script.pages()) == {"params.md", "commands.md", "rows.md"}


def test_every_key_of_the_shipped_parameters_is_on_the_page():
    keys = set(re.findall(r"^- \*\*`(\w+)`\*\*", script.params_page(), re.M))
    shipped = (ROOT / "profiles" / "paper.yaml").read_text(encoding="utf-8")
    top = set(re.findall(r"^(\w+):", shipped, re.M))
    assert top
    assert top <= keys


def test_every_key_and_every_field_has_a_meaning():
    listed = "".join(script.params_page() + script.rows_page()).replace("\n  ", " ")
    items = re.findall(r"^- \*\*`.*$", listed, re.M)
    assert len(items) > 150
    assert [item for item in items if not re.search(r"\): \S", item)] == []


def test_options_of_a_command_are_on_the_page_and_common_ones_stand_once():
    page = script.commands_page()
    assert "`--anchor NAME=ELO`: A model and its fixed rating. [default: the mean is 1000]" in page
    assert "### `arena rounds add`" in page
    assert page.count("- `--fresh`:") == 1


def test_ranges_and_defaults_are_read_from_the_types():
    page = script.params_page()
    assert "- **`cosine_none`** (number ≥ 0, < 1, default `0.3`): " in page
    assert "- **`splits`** (map of text to integer ≥ 0, required): " in page
    assert "- **`score_first`** (number ≥ 1, ≤ 10 or none, default none)" in script.rows_page()


def test_files_that_the_pages_name_exist():
    folders = (ROOT / "docs" / "reference", ROOT / "docs" / "lab")
    pages = [
        page for folder in folders for page in folder.glob("*.md") if page.name != "LOG.md"
    ]  # that is history
    named = {
        path
        for page in pages
        for path in re.findall(
            r"\b(?:benchmarks|tests|scripts|profiles|src)/[\w/.-]*\w", page.read_text(encoding="utf-8")
        )
    }
    assert len(named) > 20
    assert sorted(path for path in named if not (ROOT / path).exists()) == []
