"""The rooms import only the rooms before them, and heavy libraries stay in theirs."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import arena_learning

ROOT = Path(arena_learning.__file__).parent
ORDER = (
    "core",
    "schema",
    "params",
    "store",
    "pool",
    "importers",
    "engines",
    "arena",
    "judge",
    "rating",
    "dataset",
    "train",
    "leaderboard",
    "report",
    "tracking",
    "sweep",
    "project",
    "cli",
)
# project asks torch for a GPU.
HEAVY = {"torch": {"engines", "judge", "pool", "train", "project"}, "mlflow": {"tracking", "sweep"}}
# The seam's types: sampling is a parameter, and a contestant's answer is asked for by it.
SEAM = ({"contestants", "whole"}, "engines.base")
FILES = sorted(ROOT.rglob("*.py"))


def room(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    return parts[0] if len(parts) > 1 else "top"


def imports(path: Path) -> set[str]:
    """Return the modules that a file imports, inside functions and for type checking too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found.add(node.module or "")
            if node.module == "arena_learning":
                found |= {f"arena_learning.{alias.name}" for alias in node.names}
    return found


def own(path: Path) -> set[str]:
    """Return what a file imports of the package, without its name."""
    prefix = "arena_learning."
    return {name.removeprefix(prefix) for name in imports(path) if name.startswith(prefix)}


def test_every_room_has_its_place_in_the_order():
    assert {room(path) for path in FILES} - {"top"} == set(ORDER)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_room_imports_only_the_rooms_before_it(path):
    here = room(path)
    earlier = set(ORDER[: ORDER.index(here) + 1]) if here != "top" else set()
    for name in own(path):
        first = name.split(".")[0]
        if (path.stem in SEAM[0] and name == SEAM[1]) or first == "__version__":
            continue
        assert first in earlier, f"{path.relative_to(ROOT)} imports {name}"


def test_ratings_know_nothing_of_where_battles_come_from():
    for path in (ROOT / "rating").rglob("*.py"):
        assert {name.split(".")[0] for name in own(path)} <= {"rating", "core", "schema"}, path


@pytest.mark.parametrize("library", HEAVY)
def test_a_heavy_library_stays_in_its_rooms(library):
    users = {room(p) for p in FILES if any(name.split(".")[0] == library for name in imports(p))}
    assert users <= HEAVY[library]


def test_nothing_is_evaluated_or_unpickled():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("eval", "exec", "compile"), path
        assert not imports(path) & {"pickle", "dill", "marshal"}, path
