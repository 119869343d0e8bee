"""A whole small project in a temporary git repository: real stages, a tiny model, a few shipped instructions."""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]
CATEGORIES = 3


def make_project(
    root: Path, model: Path, *, rounds: dict[str, Any], splits: dict[str, int], test: int = 6
) -> Path:
    """Make a project at ``root`` whose base is the tiny ``model``; returns ``root``."""
    for name in ("dvc.yaml", ".dvcignore", ".gitignore"):
        shutil.copy(REPOSITORY / name, root / name)
    shutil.copytree(
        REPOSITORY / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )
    (root / "mlruns").mkdir()
    _copy_pool(root, sum(splits.values()) + test + 2)
    write_params(root, small_params(model, rounds=rounds, splits=splits, test=test))
    run(root, "git", "init", "-q")
    run(root, "dvc", "init", "-q")
    run(root, "dvc", "config", "core.analytics", "false")
    run(root, "git", "add", "-A")
    run(root, "git", "commit", "-qm", "start")
    return root


def small_params(model: Path, *, rounds: dict[str, Any], splits: dict[str, int], test: int) -> dict[str, Any]:
    """Return the shipped parameters, made small."""
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
    params["weights"]["source"] = str(model)
    # What a stage of a tiny model costs is imports: OpenVINO's engine loads in a third of transformers' time, and
    # neither decontamination nor the rubric (see `_copy_pool`) embeds anything.
    params["serving"] = {"engine": "openvino", "dtype": "f16", "batch_size": 8, "device": "cpu"}
    params["sampling"]["max_tokens"] = 12
    params["pool"] |= {"splits": splits, "test": test, "validation": 2}
    params["pool"]["filters"]["contamination"] = 0.0
    params["evaluate"] |= {"bootstrap": 100, "judges": ["rubric", "content"]}
    # The paper's stages: pairs of all battles, PPO as the third one.
    params["battle"] = {"mode": "all"}
    params["dataset"]["pairs"] = "all"
    params["train"] = {
        "device": "cpu",
        "precision": "fp32",
        "sft": _optimiser(2e-4),
        "dpo": _optimiser(1e-5, beta=0.1, sft_weight=1.0),
        "ppo": _optimiser(5e-6, max_tokens=8, temperature=0.7, kl=0.1, reward=_optimiser(3e-5)),
    }
    params["rounds"] = copy.deepcopy(rounds)
    return params


def _optimiser(rate: float, **more: Any) -> dict[str, Any]:
    few = {"epochs": 1, "batch_size": 2, "device_batch_size": 2, "max_length": 512}
    return few | {"learning_rate": rate, "warmup_ratio": 0.1} | more


def write_params(root: Path, params: dict[str, Any]) -> None:
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def read_params(root: Path) -> dict[str, Any]:
    return yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))


def run(root: Path, *command: str, code: int = 0, timeout: float = 500) -> str:
    """Run a command in the project and return what it printed; fails the test with all of it otherwise."""
    done = call(root, *command, timeout=timeout)
    assert done.returncode == code, _story(done)
    return done.stdout + done.stderr


def run_json(root: Path, *command: str, timeout: float = 500) -> Any:
    """Run a command with ``--json`` and return what it printed on standard output."""
    done = call(root, *command, timeout=timeout)
    assert done.returncode == 0, _story(done)
    return json.loads(done.stdout)


def call(
    root: Path, *command: str, path: str | None = None, timeout: float = 500
) -> subprocess.CompletedProcess[str]:
    """Run a command in the project, however it ends; with another ``PATH`` if one is given."""
    env = environment() | ({} if path is None else {"PATH": path})
    return subprocess.run(
        command, cwd=root, env=env, capture_output=True, text=True, timeout=timeout, check=False
    )


def _story(done: subprocess.CompletedProcess[str]) -> str:
    return f"{' '.join(done.args)} -> {done.returncode}\n{(done.stdout + done.stderr)[-6000:]}"


def interruptible() -> None:
    """Let Ctrl-C work in a process of a shell's background, which begins by ignoring it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def environment() -> dict[str, str]:
    """Return an environment that finds this Python's commands and sends nothing anywhere."""
    quiet = {
        "DO_NOT_TRACK": "1",
        "DVC_NO_ANALYTICS": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "HF_HUB_OFFLINE": "1",
    }
    names = {"GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@example.org"}
    names |= {"GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@example.org"}
    drop = {"DVC_ROOT", "DVC_EXP_NAME", "MLFLOW_TRACKING_URI"}
    kept = {k: v for k, v in os.environ.items() if k not in drop and not k.startswith("ARENA_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**kept, **quiet, **names, "PATH": path, "TOKENIZERS_PARALLELISM": "false"}


def install_beside(wheel: Path, home: Path, others: Path) -> Path:
    """Make an environment that holds a wheel, and finds all other packages in another one.

    A line of a .pth file adds a folder without reading that folder's own .pth files: an editable install of the clone
    stays unseen.

    Args:
        wheel: the wheel.
        home: where to make the environment.
        others: the folder ``site-packages`` of the other one.

    Returns:
        The folder of its programs.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    programs = home / "bin"
    pip = [sys.executable, "-m", "pip", "--python", str(programs / "python"), "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
    (packages,) = home.glob("lib/*/site-packages")
    (packages / "others.pth").write_text(f"{others}\n", encoding="utf-8")
    return programs


def _copy_pool(root: Path, count: int) -> None:
    """Copy the first instructions of three categories, without their semantic points, and their recorded answers."""
    (root / "data" / "opponents").mkdir(parents=True)
    lines = (REPOSITORY / "data" / "pool.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    names = list(dict.fromkeys(row["category"] for row in rows))[:CATEGORIES]
    each = -(-count // CATEGORIES)
    chosen = [row for name in names for row in [r for r in rows if r["category"] == name][:each]]
    for row in chosen:
        row["rubric"] = [point for point in row["rubric"] if point["kind"] != "semantic"]
    _write(root / "data" / "pool.jsonl", chosen)
    ids = {row["id"] for row in chosen}
    for file in (REPOSITORY / "data" / "opponents").glob("*.jsonl"):
        answers = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        _write(root / "data" / "opponents" / file.name, [a for a in answers if a["id"] in ids])


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8")
