"""The guides' examples run: files are written, commands and Python are executed in the order of the page.

Not run is what names an endpoint or a file that a reader has and a test has not (a line with ``my-`` or ``http``), and
what follows it in its block.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from pipeline.project import REPOSITORY, run

pytestmark = pytest.mark.pipeline

GUIDE = REPOSITORY / "docs" / "guide"
FENCE = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
OTHERS = re.compile(r"my-|https?://")


class Block(NamedTuple):
    """A fenced block of a page."""

    kind: str
    title: str
    text: str


def blocks(page: str) -> list[Block]:
    text = (GUIDE / f"{page}.md").read_text(encoding="utf-8")
    return [Block(*found.groups(default="")) for found in FENCE.finditer(text)]


class Reader:
    """Follows a page in a folder: `cd` of a command holds for the commands after it, not for Python."""

    def __init__(self, folder: Path) -> None:
        self.folder = self.home = folder
        self.said: list[str] = []
        self.commands = 0

    def follow(self, page: str) -> str:
        code = []
        for block in blocks(page):
            if block.title:
                (self.home / block.title).write_text(block.text, encoding="utf-8")
            elif block.kind == "console":
                self._console(block.text)
            elif block.kind == "python":
                code.append(block.text)
        if code:
            self.said.append(run(self.home, sys.executable, "-c", "\n".join(code), timeout=560))
        return "\n".join(self.said)

    def _console(self, text: str) -> None:
        for line in text.replace("\\\n", " ").splitlines():
            command = line.removeprefix("$ ")
            if command == line:
                continue  # what a command prints
            if OTHERS.search(line):
                break  # and what follows it in the block
            if command.startswith("cd "):
                self.folder = self.folder / command.removeprefix("cd ")
                continue
            self.said.append(run(self.folder, "bash", "-c", command, timeout=560))
            self.commands += 1


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> tuple[Reader, str]:
    """The guide about a leaderboard, followed once; another page reads its project."""
    reader = Reader(tmp_path_factory.mktemp("board"))
    return reader, reader.follow("leaderboard")


def test_a_leaderboard_without_training(board: tuple[Reader, str]) -> None:
    reader, said = board
    assert reader.commands == 4
    assert "careful against hasty" in said
    said = said[: said.rindex("Instruction sky")]
    table = said[said.rindex("contestant") :]
    assert table.index("careful") < table.index("hasty")
    assert "base" not in table
    assert (reader.folder / "reports" / "index.html").is_file()


def test_from_python(board: tuple[Reader, str]) -> None:
    reader = Reader(board[0].home)
    said = reader.follow("python")
    assert "Difference(from_model='base', to_model='tuned'" in said
    assert re.search(r"teacher +\d", said)
    assert re.search(r"0 +careful", said)


def test_a_judges_audit(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    said = reader.follow("audit")
    assert reader.commands == 2
    # The baseline is right in two of four decided pairs and says no tie.
    assert said.strip().endswith("0.4")


def test_the_ratings_of_a_battle_log(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    said = reader.follow("rating")
    assert reader.commands > 3
    assert "Spearman" in said
    assert "Difference(" in said


@pytest.mark.slow
def test_preference_data_without_training(tmp_path: Path) -> None:
    said = Reader(tmp_path).follow("preferences")
    assert "| not:" in said
    assert not (tmp_path / "pairs" / "models" / "pairs").exists()
