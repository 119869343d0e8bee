"""The files that a project starts with: profiles, the pipeline, the shipped instructions and answers.

They exist once, in the repository, where a clone runs them. The wheel holds them too (pyproject.toml, force-include).
"""

from __future__ import annotations

import re
from pathlib import Path

from arena_learning.core import Paths

PACKAGE = Path(__file__).parents[1]
# Where a project without the sources finds the digests of the code that a stage runs.
CODE = "data/inputs/code"
_SOURCE = re.compile(r"\bsrc/arena_learning/([\w/]+)(?:\.py)?")
_DIGEST = re.compile(rf"\b{CODE}/([\w/]+)\.json")


def shipped(name: str) -> Path:
    """Return a file or folder that comes with the package, by its path in the repository.

    Example:
        >>> shipped("profiles").joinpath("laptop.yaml").is_file()
        True
    """
    installed = PACKAGE / "starter"
    return (installed if installed.is_dir() else PACKAGE.parents[1]) / name


def profiles_folder(paths: Paths) -> Path:
    """Return the project's own folder of profiles, or the shipped one where it has none."""
    return paths.profiles if paths.profiles.is_dir() else shipped("profiles")


def holds_sources(paths: Paths) -> bool:
    """Whether the project is a clone: DVC then compares the package's source files themselves."""
    return (paths.root / "src" / "arena_learning").is_dir()


def pipeline_text() -> str:
    """Return dvc.yaml for a project without the package's sources.

    In the repository, stages depend on source files. Elsewhere the package is in an environment that DVC does not see,
    so the stages depend on digests of the same files, which the stage `inputs` writes.

    Example:
        >>> "src/arena_learning" in pipeline_text(), "data/inputs/code/judge.json" in pipeline_text()
        (False, True)
    """
    text = shipped("dvc.yaml").read_text(encoding="utf-8")
    outs = "      - data/inputs/rewards: {cache: false}\n"
    text = text.replace(outs, f"{outs}      - {CODE}: {{cache: false}}\n")
    return _SOURCE.sub(rf"{CODE}/\1.json", text)


def watched_code(paths: Paths) -> list[str]:
    """Return the package's files and folders whose digests the project's dvc.yaml asks for, as ``judge``."""
    if not paths.pipeline.is_file():
        return []
    return sorted(set(_DIGEST.findall(paths.pipeline.read_text(encoding="utf-8"))))


def is_outdated(paths: Paths) -> bool:
    """Whether dvc.yaml was written for another version of the package (or edited)."""
    return bool(watched_code(paths)) and paths.pipeline.read_text(encoding="utf-8") != pipeline_text()
