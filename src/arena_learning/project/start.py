"""Make a project: parameters, pipeline, a pool, git and DVC. What a folder has already is kept."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from arena_learning.core import ArenaError, Paths, check_location, read_yaml, write_text
from arena_learning.project.dvc_stages import DVC
from arena_learning.project.first_run import FirstRun, adapt, recorded_files
from arena_learning.project.own_pool import answers_in, copy_answers, refuse_other_answers, starter_pool
from arena_learning.project.profile import ServingChoice, load_profile, write_tree
from arena_learning.project.shipped import holds_sources, pipeline_text, profiles_folder, shipped

# A dvc.yaml with these stages is this project's pipeline.
_OURS = {"inputs", "prepare", "evaluate"}


class Started(NamedTuple):
    """What `start_project` did: the serving choice, the paths that it wrote, and what it changed in the profile."""

    serving: ServingChoice
    written: list[str]
    changed: list[str]


def start_project(
    profile: str, wanted: FirstRun, paths: Paths, serving: ServingChoice, *, force: bool
) -> Started:
    """Make a project in the folder ``paths.root``.

    Args:
        profile: name of a profile: of the folder's own ``profiles``, or of the shipped ones.
        wanted: what to change in the profile.
        paths: the project.
        serving: engine and dtype for this machine.
        force: replace an existing params.yaml.

    Raises:
        ArenaError: params.yaml exists without ``force``, the folder has another project's dvc.yaml or other answers of
            an opponent's name, an option or the profile is invalid, or git is missing. Nothing has been written then.
    """
    check_location(paths)
    if paths.params.exists() and not force:
        raise ArenaError("the file exists already", where=str(paths.params), hint="use --force to replace it")
    _refuse_other_pipeline(paths)
    if shutil.which("git") is None:
        raise ArenaError("git is not installed", hint="install git: DVC keeps a project's history in it")
    tree, serving = load_profile(profile, profiles_folder(paths), serving)
    there = paths.root / "data" / "pool.jsonl"
    if wanted.pool is not None and there.exists():
        name = shlex.quote(str(there))
        raise ArenaError(
            "the project has a pool already", where=str(there), hint=f"move it away: `mv {name} {name}.old`"
        )
    # A pool of one's own that an earlier call has brought is kept, with its answers, and the sizes are fitted to it.
    kept = there if _is_own(there, paths) else None
    opponents = paths.root / "data" / "opponents"
    with starter_pool(wanted.pool or kept, answers_in(opponents)) as pool:
        changed = adapt(tree, wanted, pool, paths)
        for name, file in recorded_files(wanted).items():
            refuse_other_answers(file, opponents / f"{name}.jsonl")
        write_tree(tree, paths.params, f"profile {profile}")
        written = [paths.params.name, *pool.copy_to(paths.root)]
    for name, file in recorded_files(wanted).items():
        if copy_answers(file, opponents / f"{name}.jsonl"):
            written.append(f"data/opponents/{name}.jsonl")
    return Started(serving, [*written, *_write_frame(paths), *_start_history(paths)], changed)


def _is_own(pool: Path, paths: Paths) -> bool:
    """Whether a project's pool is one that an earlier call has brought."""
    if holds_sources(paths) or not pool.exists():
        return False
    return pool.read_bytes() != shipped("data/pool.jsonl").read_bytes()


def renew_pipeline(paths: Paths) -> bool:
    """Write dvc.yaml for the installed version of the package; return whether that changed it.

    Raises:
        ArenaError: the project is a clone, whose dvc.yaml git brings, or the file is another project's.
    """
    if holds_sources(paths):
        raise ArenaError(
            "the project is a clone, and its dvc.yaml comes with git", where=str(paths.root), hint="git pull"
        )
    _refuse_other_pipeline(paths)
    text = pipeline_text()
    if paths.pipeline.is_file() and paths.pipeline.read_text(encoding="utf-8") == text:
        return False
    write_text(paths.pipeline, text)
    return True


def _refuse_other_pipeline(paths: Paths) -> None:
    if not paths.pipeline.is_file():
        return
    found = read_yaml(paths.pipeline)
    stages = found.get("stages") if isinstance(found, dict) else None
    if not (isinstance(stages, dict) and stages.keys() >= _OURS):
        raise ArenaError(
            "the folder has a dvc.yaml of another project",
            where=str(paths.pipeline),
            hint="make the project in an empty folder: `arena init DIR`",
        )


def _write_frame(paths: Paths) -> list[str]:
    """Write the pipeline and the lists of ignored files, where they are missing."""
    texts = {"dvc.yaml": pipeline_text()}
    texts |= {name: shipped(name).read_text(encoding="utf-8") for name in (".gitignore", ".dvcignore")}
    missing = [name for name in texts if not (paths.root / name).exists()]
    for name in missing:
        write_text(paths.root / name, texts[name])
    return missing


def _start_history(paths: Paths) -> list[str]:
    """Initialise git and DVC, where they are missing; a folder inside of a git repository gets its own DVC."""
    made = []
    top = _call(paths, "git", "rev-parse", "--show-toplevel", check=False)
    if not top:
        _call(paths, "git", "init", "--quiet")
        made.append(".git")
    if not (paths.root / ".dvc").is_dir():
        below = ["--subdir"] if top and not (paths.root / ".git").exists() else []
        _call(paths, *DVC, "init", "--quiet", *below)
        _call(paths, *DVC, "config", "core.analytics", "false")
        made.append(".dvc")
    return made


def _call(paths: Paths, *command: str, check: bool = True) -> str:
    done = subprocess.run(
        command, cwd=paths.root, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode and check:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise ArenaError(f"`{' '.join(command[-3:])}` failed: {said[-1] if said else done.returncode}")
    return "" if done.returncode else done.stdout.strip()
