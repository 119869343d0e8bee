"""Remove files that can be made again; answers and verdicts are never removed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from typing import NamedTuple

from arena_learning.core import Paths, refuse_while_running
from arena_learning.params import Params
from arena_learning.project.disk import Item, disk_usage, size_of
from arena_learning.project.dvc_stages import run_dvc

# The kinds that may be removed, and how each comes back.
REMADE = {
    "export": "written again when its model next answers",
    "checkpoints": "an interrupted training then starts from the beginning",
    "opponents' weights": "prepared again from their source when they next answer",
    "embeddings": "vectors of texts, computed again when a judge next needs them",
    "experiments": "checkpoints of experiments that ran in a copy",
    "DVC cache": "objects that no branch, tag, experiment or file here refers to; their stages would run again",
}
# Objects that a branch, tag or experiment still refers to are kept.
_GC = ("gc", "--workspace", "--all-branches", "--all-tags", "--all-experiments", "--force")


class Freed(NamedTuple):
    """One kind of files to remove (or removed): the number of files, folders or objects, and their bytes.

    The size of DVC's objects is None before they are removed, because DVC does not report it.
    """

    kind: str
    number: int
    size: int | None


def plan_cleaning(items: Sequence[Item], kinds: Sequence[str], paths: Paths) -> list[Freed]:
    """Return what would be removed of the ``kinds``, without removing it."""
    lines = []
    for kind in kinds:
        if kind == "DVC cache":
            count = _gc(paths, "--dry") if paths.dvc_cache.is_dir() else 0
            lines.append(Freed(kind, count, None if count else 0))
        else:
            own = [item.size for item in items if item.kind == kind]
            lines.append(Freed(kind, len(own), sum(own)))
    return lines


def free_disk(params: Params, paths: Paths, kinds: Sequence[str]) -> list[Freed]:
    """Remove the ``kinds`` and return what was removed.

    Raises:
        ArenaError: an unknown kind, a running stage, or a failure of DVC.
    """
    refuse_while_running(paths)
    items = disk_usage(params, paths)
    freed = []
    for line in plan_cleaning(items, kinds, paths):
        if line.kind == "DVC cache":
            before = size_of(paths.dvc_cache)
            count = _gc(paths) if line.number else 0
            freed.append(Freed(line.kind, count, before - size_of(paths.dvc_cache)))
            continue
        for item in items:
            if item.kind == line.kind and item.path.is_dir():
                shutil.rmtree(item.path)
            elif item.kind == line.kind:
                item.path.unlink()
        freed.append(line)
    return freed


def _gc(paths: Paths, *options: str) -> int:
    """Run DVC's garbage collection and return the number of removed objects."""
    done = run_dvc(*_GC, *options, folder=paths.home)
    return sum(int(n) for n in re.findall(r"Removed (\d+) objects", done.stdout + done.stderr))
