"""The names are the field's: words that only this project used stay gone from code, messages and documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import arena_learning
from arena_learning.core import ArenaError

PACKAGE = Path(arena_learning.__file__).parent
ROOT = PACKAGE.parents[1]
# The log tells what was done, in the words of its day.
HISTORY = {"docs/lab/LOG.md", "CHANGELOG.md"}
# Files and folders that had such a name.
FILES = """
    board curate setup upkeep claims sharing guard hide new_file read_yaml points texts likely flaws longer
    symptoms carry flat shown places html_view visible exports learnt openai_body gguf_export vllm_worker
    audit_run run_judge run_selection
""".split()
# Identifiers. Common words among the old names (points, claims, shares, place) are free in prose and as variables.
IDENTIFIERS = """
    mend new_file is_held end_when_gone no_bars not_utf8 whole_text
    Claims Claimed seize parse_point Likeliest Weighing most_likely too_many neutralise neutralise_common
    share_out sort_error Trouble Flaw find_flaws LongerJudge symptoms Duel Duels duel duels read_place html_view
    Lifeline HOPE _So Taken Held Shown Attached carry_over unfit key_of verdict_of
    Impossible openai_reply vllm_process upkeep
""".split()
PHRASES = ["mend:", "in force", "given up", "paid again", "paid twice", "a dear judge"]


def files(*kinds: str) -> list[Path]:
    found = [path for kind in kinds for path in PACKAGE.rglob(kind)]
    return sorted(path for path in found if "__pycache__" not in path.parts)


def test_no_file_or_folder_has_an_old_name():
    assert not {path.stem for path in [*files("*.py"), *PACKAGE.iterdir()]} & set(FILES)


@pytest.mark.parametrize("path", files("*.py", "*.pyi", "*.jinja"), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_old_identifier_or_phrase_is_left_in_the_package(path):
    text = path.read_text(encoding="utf-8")
    left = [name for name in IDENTIFIERS if re.search(rf"\b{re.escape(name)}\b", text)]
    left += [phrase for phrase in PHRASES if phrase in text]
    assert not left, f"{path.relative_to(ROOT)}: {left}"


def test_no_old_phrase_is_left_in_the_documentation():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        name = page.relative_to(ROOT).as_posix()
        if name not in HISTORY:
            text = page.read_text(encoding="utf-8")
            left = [phrase for phrase in PHRASES if phrase in text]
            left += [old for old in FILES if re.search(rf"arena_learning[/.]{old}\b", text)]
            assert not left, f"{name}: {left}"


def test_an_error_says_how_to_fix_it_after_hint():
    error = ArenaError("no judge 'rubrik'", where="params.yaml, judge.name", hint="did you mean 'rubric'?")
    assert str(error) == "params.yaml, judge.name: no judge 'rubrik'\n  hint: did you mean 'rubric'?"
