"""The stages of dvc.yaml by name, and what dvc.lock remembers of them."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from typing import Any

from ruamel.yaml import YAML

from arena_learning.core import ArenaError, Paths, read_yaml, write_text

Lock = Mapping[str, Mapping[str, Any]]


def stage_names(paths: Paths) -> set[str]:
    """Return the names of the pipeline's stages, those of a ``foreach`` spelt out by params.yaml.

    Raises:
        ArenaError: there is no dvc.yaml, or a ``foreach`` names nothing in params.yaml.
    """
    try:
        pipeline: Any = read_yaml(paths.pipeline)
    except FileNotFoundError:
        raise ArenaError(
            "no such file", where=str(paths.pipeline), hint="run in the project's root"
        ) from None
    params: Any = read_yaml(paths.params)
    names = set()
    for name, stage in pipeline["stages"].items():
        if "foreach" in stage:
            names |= {f"{name}@{key}" for key in _items(name, stage["foreach"], params)}
        else:
            names.add(name)
    return names


def _items(name: str, over: Any, params: Mapping[str, Any]) -> list[str]:
    """Return the keys that a ``foreach`` goes over: ``${a.b}`` in params.yaml, or given in place."""
    value = over
    if isinstance(over, str):
        value = params
        for key in over.strip("${} ").split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping | list):
        raise ArenaError(f"stage {name}: foreach {over} is not in params.yaml", where="dvc.yaml")
    return [str(key) for key in value]


def read_lock(paths: Paths) -> Lock:
    """Return dvc.lock's stages; none where nothing has run yet."""
    try:
        lock: Any = read_yaml(paths.lockfile)
    except FileNotFoundError:
        return {}
    return dict((lock or {}).get("stages") or {})


def outs(stage: Mapping[str, Any]) -> list[str]:
    """Return the paths of a locked stage's outs."""
    return [out["path"] for out in stage.get("outs", ())]


def drop_from_lock(names: set[str], paths: Paths) -> None:
    """Take stages out of dvc.lock; the others' lines stay as they are."""
    yaml = YAML()
    yaml.width = 4096
    yaml.preserve_quotes = True
    tree: Any = yaml.load(paths.lockfile.read_text(encoding="utf-8"))
    for name in names:
        del tree["stages"][name]
    text = StringIO()
    yaml.dump(tree, text)
    write_text(paths.lockfile, text.getvalue())
