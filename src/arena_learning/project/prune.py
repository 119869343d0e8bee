"""Remove leftovers of rounds and opponents that are no longer in params.yaml: lock entries, data, models."""

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
    """A file or folder of a former round or opponent, and its size."""

    path: Path
    size: int


class Stale(NamedTuple):
    """Leftovers: stages in dvc.lock, files and folders; and paths that are kept because params.yaml names them."""

    stages: list[str]
    files: list[LeftOver]
    kept: list[Path]


def find_stale(params: Params, paths: Paths) -> Stale:
    """Find the leftovers; removes nothing.

    A model's folder counts only if its round has left a lock entry or data: one that a user put there is kept. So is
    what params.yaml names as an opponent's or judge's model or as the weights' source; it is reported.
    """
    lock, live = read_lock(paths), stage_names(paths)
    stages = sorted(lock.keys() - live)
    owned = {path for name in lock.keys() & live for path in outs(lock[name])}
    found = {paths.root / path for name in stages for path in outs(lock[name]) if path not in owned}
    gone = set(_gone(params, paths)) | {name.partition("@")[2] for name in stages}
    for name in gone - {"", BASE, NONE, *params.contestants, *params.opponents}:
        found |= {paths.round(name), paths.checkpoints(name), paths.arena_responses(name)}
        if paths.round(name).is_dir() or f"train@{name}" in lock:
            found.add(paths.model(name))
    there = sorted(path for path in found if path.exists() and not _below_another(path, found))
    named = _named(params, paths)
    kept = [path for path in there if any(name.is_relative_to(path.resolve()) for name in named)]
    return Stale(stages, [LeftOver(path, size_of(path)) for path in there if path not in kept], kept)


def remove_stale(stale: Stale, paths: Paths) -> None:
    """Remove the leftovers.

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
    """Yield the names of files' owners that params.yaml does not contain."""
    known = {NONE, *params.contestants, *params.opponents}
    for folder in (paths.round("x").parent, paths.checkpoints("x").parent):
        if folder.is_dir():
            yield from (p.name for p in folder.iterdir() if p.is_dir() and p.name not in known)
    responses = paths.arena_responses("x").parent
    if responses.is_dir():
        yield from (p.stem for p in responses.glob("*.jsonl") if p.stem not in known)


def _below_another(path: Path, found: set[Path]) -> bool:
    return any(parent in found and parent.exists() for parent in path.parents)


def _named(params: Params, paths: Paths) -> list[Path]:
    """Return the paths that params.yaml names, as absolute paths."""
    texts = [o.model for o in params.opponents.values()] + [j.model for j in params.judges.values()]
    pool = params.pool
    texts += [params.weights.source, pool.instructions, pool.references, *pool.benchmarks]
    texts += [pool.difficulties, pool.filters.tokenizer, pool.filters.toxic_model]
    return [(paths.root / text).resolve() for text in texts if text and ":" not in text]
