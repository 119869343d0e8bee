"""What rounds and opponents that are no longer in params.yaml have left: lock entries, data, models, checkpoints."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from arena_learning.core import Paths, refuse_while_running
from arena_learning.params import BASE, NONE, Params
from arena_learning.project.disk import size_of
from arena_learning.project.dvc_stages import drop_from_lock, outs, read_lock, stage_names


class LeftOver(NamedTuple):
    """A file or folder that nothing in params.yaml belongs to any more, and its size."""

    path: Path
    size: int


class Stale(NamedTuple):
    """What is left behind: stages in dvc.lock, files and folders; and what is kept because it is still named."""

    stages: list[str]
    files: list[LeftOver]
    kept: list[Path]


def find_stale(params: Params, paths: Paths) -> Stale:
    """Find what is left behind; removes nothing.

    A model's folder counts only where its round has left a lock entry or data: one that was put there by hand stays.
    What params.yaml still names (as an opponent's or a judge's model, or as the weights' source) is kept, and said.
    """
    lock, live = read_lock(paths), stage_names(paths)
    stages = sorted(lock.keys() - live)
    owned = {path for name in lock.keys() & live for path in outs(lock[name])}
    found = {paths.root / path for name in stages for path in outs(lock[name]) if path not in owned}
    gone = set(_gone(params, paths)) | {name.partition("@")[2] for name in stages}
    for name in gone - {"", BASE, NONE, *params.contestants}:
        found |= {paths.round(name), paths.checkpoints(name), paths.arena_responses(name)}
        if paths.round(name).is_dir() or f"train@{name}" in lock:
            found.add(paths.model(name))
    there = sorted(path for path in found if path.exists() and not _below_another(path, found))
    named = _named(params, paths)
    kept = [path for path in there if any(name.is_relative_to(path.resolve()) for name in named)]
    return Stale(stages, [LeftOver(path, size_of(path)) for path in there if path not in kept], kept)


def remove_stale(stale: Stale, paths: Paths) -> None:
    """Remove what was found.

    Raises:
        ArenaError: a stage is running.
    """
    refuse_while_running(paths)
    if stale.stages:
        drop_from_lock(set(stale.stages), paths)
    for left in stale.files:
        if left.path.is_dir() and not left.path.is_symlink():
            shutil.rmtree(left.path)
        else:
            left.path.unlink()


def _gone(params: Params, paths: Paths) -> Iterator[str]:
    """Yield the names that files are called by and params.yaml does not know."""
    known = {NONE, *params.contestants}
    for folder in (paths.round("x").parent, paths.checkpoints("x").parent):
        if folder.is_dir():
            yield from (p.name for p in folder.iterdir() if p.is_dir() and p.name not in known)
    responses = paths.arena_responses("x").parent
    if responses.is_dir():
        yield from (p.stem for p in responses.glob("*.jsonl") if p.stem not in known)


def _below_another(path: Path, found: set[Path]) -> bool:
    return any(parent in found and parent.exists() for parent in path.parents)


def _named(params: Params, paths: Paths) -> list[Path]:
    """Return the places that params.yaml names, as absolute paths."""
    texts = [o.model for o in params.opponents.values()] + [j.model for j in params.judges.values()]
    texts += [params.weights.source, params.pool.instructions, params.pool.references]
    return [(paths.root / text).resolve() for text in texts if text and ":" not in text]
