"""The rooms import only the rooms before them, and heavy libraries stay in theirs."""

from __future__ import annotations

import ast
import importlib
import types
from pathlib import Path

import pytest

import arena_learning

ROOT = Path(arena_learning.__file__).parent
ORDER = (
    "core",
    "schema",
    "params",
    "store",
    "importers",
    "pool",
    "engines",
    "arena",
    "judge",
    "testing",
    "rating",
    "dataset",
    "train",
    "leaderboard",
    "report",
    "review",
    "tracking",
    "registry",
    "sweep",
    "project",
    "api",
    "cli",
)
# project asks torch for a GPU.
HEAVY = {
    "torch": {"engines", "judge", "pool", "train", "project"},
    "mlflow": {"tracking", "sweep"},
    "flask": {"review"},
}
FILES = sorted(ROOT.rglob("*.py"))
# Files of one kind, with one function each that does the same for its kind.
SAME = {"command", "take", "main"}


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
        if first == "__version__":
            continue
        assert first in earlier, f"{path.relative_to(ROOT)} imports {name}"


def package_of(path: Path) -> str:
    return ".".join(path.parent.relative_to(ROOT.parent).parts)


def names_of(package: str) -> set[str]:
    """Return what a room offers to others: its ``__all__``, which stands in its ``__init__.pyi``."""
    stub = ROOT.parent / package.replace(".", "/") / "__init__.pyi"
    for node in ast.parse(stub.read_text(encoding="utf-8")).body if stub.is_file() else ():
        if isinstance(node, ast.Assign):
            return set(ast.literal_eval(node.value))
    return set()


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_room_is_used_through_its_init(path):
    here = package_of(path)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("arena_learning."):
            continue
        place = ROOT.parent / node.module.replace(".", "/")
        package = node.module if place.is_dir() else node.module.rpartition(".")[0]
        if here == package or here.startswith(f"{package}."):
            continue  # a room's own files, and those of the rooms within it
        assert place.is_dir(), f"{path.relative_to(ROOT)} reaches into {node.module}"
        missing = {alias.name for alias in node.names} - names_of(package)
        assert not missing, f"{package} offers no {sorted(missing)}"


@pytest.mark.parametrize("path", [p for p in FILES if p.name == "__init__.py"], ids=lambda p: p.parent.name)
def test_each_room_says_what_it_is_for_and_what_it_offers(path):
    package = package_of(path)
    room = importlib.import_module(package)
    assert len((room.__doc__ or "").strip().splitlines()) >= (1 if path.parent == ROOT else 3)
    assert set(getattr(room, "__all__", ())) == names_of(package) or path.parent == ROOT
    for name in names_of(package):
        found = getattr(room, name)
        files = {p.stem for p in path.parent.glob("*.py")}
        assert not isinstance(found, types.ModuleType)
        assert name not in files, f"{package}.{name} hides a file"


def test_a_name_means_one_thing():
    """No two public classes or functions share a name (commands are called as users call them)."""
    places: dict[str, list[str]] = {}
    for path in (path for path in FILES if room(path) != "cli"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    twice = {name: where for name, where in places.items() if len(where) > 1 and name not in SAME}
    assert not twice


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
