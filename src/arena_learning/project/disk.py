"""The project's use of the disk, by round and by kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from arena_learning.core import Paths, Table, table_text
from arena_learning.engines import weights_digest
from arena_learning.params import BASE, Params

# Files of each model and round; all others belong to the project as a whole.
OWNED = ("model", "reward model", "export", "checkpoints", "rows")


class Item(NamedTuple):
    """Files on the disk: their kind, their owner (a model, a round, or ``-``), their path and their size."""

    kind: str
    owner: str
    path: Path
    size: int


def disk_usage(params: Params, paths: Paths) -> list[Item]:
    """Return the project's files by owner and kind; what does not exist is left out."""
    return [item for item in _all(params, paths) if item.size]


def disk_text(items: Sequence[Item]) -> str:
    """Return two tables in MB: by model and kind, and of the files that all share."""
    sizes: Counter[tuple[str, str]] = Counter()
    for item in items:
        sizes[item.owner, item.kind] += item.size
    owners = list(dict.fromkeys(item.owner for item in items if item.kind in OWNED))
    rows = [
        ["no model here" if owner == "-" else owner, *(_mb(sizes[owner, kind]) for kind in OWNED)]
        for owner in owners
    ]
    rows.append(["all", *(_mb(sum(sizes[owner, kind] for owner in owners)) for kind in OWNED)])
    shared = [[item.kind, _mb(item.size)] for item in items if item.kind not in OWNED]
    shared.append(["all in all", _mb(sum(item.size for item in items))])
    return "\n\n".join(
        (
            table_text(Table(("contestant", *(f"{kind}, MB" for kind in OWNED)), rows)),
            table_text(Table(("where", "MB"), shared)),
        )
    )


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f}" if size else "-"


def size_of(path: Path) -> int:
    """Return the bytes of a file or folder; hard links count once, symbolic links are not followed."""
    files = [path] if path.is_file() else sorted(path.rglob("*")) if path.is_dir() else []
    seen: dict[tuple[int, int], int] = {}
    for file in files:
        stat = file.lstat()
        if file.is_file() and not file.is_symlink():
            seen[stat.st_dev, stat.st_ino] = stat.st_size
    return sum(seen.values())


def _all(params: Params, paths: Paths) -> Iterator[Item]:
    for name in (BASE, *params.ordered_rounds):
        folder = paths.model(name)
        reward = folder / "reward_model"
        yield Item("model", name, folder, size_of(folder) - size_of(reward))
        yield Item("reward model", name, reward, size_of(reward))
    for name in params.ordered_rounds:
        yield Item("rows", name, paths.round(name), size_of(paths.round(name)))
        yield Item("checkpoints", name, paths.checkpoints(name), size_of(paths.checkpoints(name)))
    yield from _exports(params, paths)
    for kind, path in (
        ("prepared", paths.split("x").parent),
        ("arena", paths.arena_games.parent),
        ("reports", paths.reports),
        ("opponents' weights", paths.opponent_weights),
        ("experiments", paths.experiments),
        ("embeddings", paths.vectors.parent),
        ("memory", paths.store),
        ("MLflow", paths.mlruns),
        ("DVC cache", paths.dvc_cache),
    ):
        yield Item(kind, "-", path, size_of(path))


def _exports(params: Params, paths: Paths) -> Iterator[Item]:
    """Yield the exports, each with the model that it was made from, if that still exists."""
    files = sorted(paths.exports.glob("*")) if paths.exports.is_dir() else []
    if not files:
        return
    owners = {
        weights_digest(paths.model(name))[:24]: name
        for name in (BASE, *params.ordered_rounds)
        if any(paths.model(name).glob("*.safetensors"))
    }
    for path in files:
        yield Item("export", owners.get(path.name.partition("-")[0], "-"), path, size_of(path))
