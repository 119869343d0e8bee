"""Checks of what DVC needs: a repository, a pipeline, and its own files in one piece."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from arena_learning.core import ArenaError, Paths, read_yaml
from arena_learning.project.finding import DoctorFinding
from arena_learning.project.shipped import holds_sources


def find_torn(paths: Paths) -> Iterator[DoctorFinding]:
    """Find files that a killed DVC left half written: later runs of DVC fail on them."""
    lock = paths.root / ".dvc" / "tmp" / "rwlock"
    try:
        json.loads(lock.read_text(encoding="utf-8") if lock.is_file() else "{}")
    except ValueError:
        yield DoctorFinding("fail", "DVC was killed while it wrote .dvc/tmp/rwlock", "`rm .dvc/tmp/rwlock`")
    if paths.lockfile.is_file() and not _is_lockfile(paths.lockfile):
        # DVC's run cache also holds finished stages: `dvc repro` restores them from it and writes the file again.
        what = "dvc.lock cannot be read: DVC was killed while it wrote, or git has left a conflict in it"
        yield DoctorFinding("fail", what, "`rm dvc.lock`: DVC's run cache still knows what has run")


def check_dvc(paths: Paths) -> None:
    """Check what DVC needs before it starts.

    Raises:
        ArenaError: the project is no DVC repository, has no dvc.yaml, or a file of DVC's cannot be read.
    """
    if not in_dvc_repository(paths):
        raise ArenaError("not a DVC repository", where=str(paths.root), hint=f"run {how_to_init(paths)}")
    if not paths.pipeline.is_file():
        clone = holds_sources(paths)
        raise ArenaError(
            "no such file",
            where=str(paths.pipeline),
            hint="run `git checkout dvc.yaml`" if clone else "run `arena init --upgrade`, which writes it",
        )
    for finding in find_torn(paths):
        raise ArenaError(finding.what, where=str(paths.root), hint=finding.hint)


def in_dvc_repository(paths: Paths) -> bool:
    """Whether the project's folder, or one above it, is a DVC repository."""
    return any((folder / ".dvc").is_dir() for folder in (paths.root, *paths.root.parents))


def how_to_init(paths: Paths) -> str:
    """Return the command that makes the project a DVC repository."""
    if (paths.root / ".git").exists():
        return "`dvc init`"
    above = any((folder / ".git").exists() for folder in paths.root.parents)
    return "`dvc init --subdir`" if above else "`git init && dvc init`"


def _is_lockfile(path: Path) -> bool:
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    try:
        COMPILED_LOCKFILE_SCHEMA(read_yaml(path))
    except (ArenaError, Invalid):
        return False
    return True
