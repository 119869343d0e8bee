"""Folders that appear whole or not at all: written beside their place, then moved into it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path


def fresh_beside(out: Path) -> Path:
    """Return a new empty folder beside ``out``, on its file system; a killed run's is removed."""
    temporary = out.parent / f".{out.name}.new"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    return temporary


def move_into_place(temporary: Path, out: Path) -> None:
    """Put ``temporary`` where ``out`` is (a folder is not replaced in one step: the old one goes first)."""
    if out.is_symlink() or out.is_file():
        out.unlink()
    else:
        shutil.rmtree(out, ignore_errors=True)
    temporary.replace(out)


def copy_into_place(source: Path, out: Path, leave_out: Sequence[str] = ()) -> None:
    """Copy a folder to ``out``, whole or not at all.

    Args:
        source: the folder.
        out: where its copy goes; replaced if it is there.
        leave_out: patterns of names that are not copied.
    """
    temporary = fresh_beside(out)
    shutil.copytree(source, temporary, ignore=shutil.ignore_patterns(*leave_out), dirs_exist_ok=True)
    move_into_place(temporary, out)
