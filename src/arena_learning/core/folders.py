"""Atomic writes of folders: a folder is written beside its place, then moved into it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path


def fresh_beside(out: Path) -> Path:
    """Return a new empty folder beside ``out``, on the same file system; a killed run's leftover is removed."""
    temporary = out.parent / f".{out.name}.new"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    return temporary


def move_into_place(temporary: Path, out: Path) -> None:
    """Replace ``out`` by ``temporary`` (the old folder is deleted first: no single step replaces a folder)."""
    if out.is_symlink() or out.is_file():
        out.unlink()
    else:
        shutil.rmtree(out, ignore_errors=True)
    temporary.replace(out)


def copy_into_place(source: Path, out: Path, leave_out: Sequence[str] = ()) -> None:
    """Copy a folder to ``out``, completely or not at all.

    Args:
        source: the folder to copy.
        out: where the copy goes; an existing folder is replaced.
        leave_out: patterns of file names that are not copied.
    """
    temporary = fresh_beside(out)
    shutil.copytree(source, temporary, ignore=shutil.ignore_patterns(*leave_out), dirs_exist_ok=True)
    move_into_place(temporary, out)
