"""The stages of dvc.yaml by name, their entries in dvc.lock, and what has changed since."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from arena_learning.core import ArenaError, Paths, read_yaml, write_text

DVC = (sys.executable, "-P", "-m", "dvc")  # this environment's DVC, even if it is not on PATH

Lock = Mapping[str, Mapping[str, Any]]


def stage_names(paths: Paths) -> set[str]:
    """Return the names of the pipeline's stages, with each ``foreach`` expanded by params.yaml.

    Raises:
        ArenaError: there is no dvc.yaml, or a ``foreach`` refers to a missing key of params.yaml.
    """
    try:
        pipeline: Any = read_yaml(paths.pipeline)
    except FileNotFoundError:
        raise ArenaError(
            "no such file", where=str(paths.pipeline), hint="run the command in the project's root"
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
    """Return the keys of a ``foreach``: a mapping or list in place, or ``${a.b}`` in params.yaml."""
    value = over
    if isinstance(over, str):
        value = params
        for key in over.strip("${} ").split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping | list):
        raise ArenaError(
            f"stage {name}: foreach {over} is not in params.yaml",
            where="dvc.yaml",
            hint="add that key to params.yaml, or correct its name in dvc.yaml",
        )
    return [str(key) for key in value]


def read_lock(paths: Paths) -> Lock:
    """Return dvc.lock's stages; empty if nothing has run yet."""
    try:
        lock: Any = read_yaml(paths.lockfile)
    except FileNotFoundError:
        return {}
    return dict((lock or {}).get("stages") or {})


def outs(stage: Mapping[str, Any]) -> list[str]:
    """Return the output paths of a locked stage."""
    return [out["path"] for out in stage.get("outs", ())]


def changed_dependencies(stage: str, paths: Paths) -> dict[str, str]:
    """Return what a stage reads and is no longer as when it ran, each with DVC's word for the change (``modified``).

    Empty for a stage that never ran under DVC: of its dependencies nothing is on record.

    Raises:
        ArenaError: DVC cannot say it, as while a run holds its lock.
    """
    if stage not in read_lock(paths):
        return {}
    changes = json.loads(run_dvc("status", "--json", stage, folder=paths.root).stdout).get(stage, [])
    found = [
        change["changed deps"] for change in changes if isinstance(change, dict) and "changed deps" in change
    ]
    return {path: kind for one in found for path, kind in one.items()}


def run_dvc(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of DVC in a folder of the project and return what it printed.

    Raises:
        ArenaError: it failed, as while a run holds DVC's lock.
    """
    done = subprocess.run(
        [*DVC, *arguments], cwd=folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise ArenaError(
            f"`dvc {' '.join(arguments)}` failed: {said[0] if said else done.returncode}",
            where="DVC",
            hint="if a run is going on, wait for its end",
        )
    return done


def drop_from_lock(names: set[str], paths: Paths) -> None:
    """Remove stages from dvc.lock; the lines of other stages stay as they are."""
    yaml = YAML()
    yaml.width = 4096
    yaml.preserve_quotes = True
    tree: Any = yaml.load(paths.lockfile.read_text(encoding="utf-8"))
    for name in names:
        del tree["stages"][name]
    text = StringIO()
    yaml.dump(tree, text)
    write_text(paths.lockfile, text.getvalue())
