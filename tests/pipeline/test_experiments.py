"""DVC experiments on a finished flywheel: in place, in a copy and from the queue, all in the one MLflow store."""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.project import run

pytestmark = [pytest.mark.pipeline, pytest.mark.torch, pytest.mark.slow]


@pytest.fixture(scope="module")
def clone(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project, `mlruns/` with it: also a clone that was moved."""
    return Path(shutil.copytree(project, tmp_path_factory.mktemp("clone") / "p", symlinks=True))


def flywheels(root: Path) -> dict[str, str]:
    """The names of the flywheels' runs in MLflow, and the experiment in their scope."""
    with closing(sqlite3.connect(root / "mlruns" / "mlflow.db")) as db:
        rows = db.execute(
            "SELECT r.name, s.value FROM runs r JOIN tags k ON k.run_uuid = r.run_uuid AND k.key = 'arena.key' "
            "JOIN tags s ON s.run_uuid = r.run_uuid AND s.key = 'arena.scope' "
            "WHERE k.value = 'flywheel' AND r.lifecycle_stage = 'active'"
        )
        return {name: scope.split("/")[1] for name, scope in rows}


def test_experiments_log_into_the_one_store_by_their_names(clone: Path) -> None:
    assert flywheels(clone) == {"flywheel": "workspace"}
    run(clone, "dvc", "exp", "run", "--name", "in-place", "--set-param", "evaluate.bootstrap=60")
    copied = run(
        clone, "dvc", "exp", "run", "--temp", "--name", "in-a-copy", "-S", "rounds.ppo-i3.threshold=9"
    )
    assert "Running stage 'dataset@ppo-i3'" in copied
    assert "Running stage 'battle@" not in copied
    run(clone, "dvc", "exp", "run", "--queue", "--name", "queued", "-S", "evaluate.bootstrap=70")
    run(clone, "dvc", "queue", "start")
    end = time.monotonic() + 200
    # The worker has still to tidy up when the run is there: until then it holds DVC's lock.
    while "Success" not in run(clone, "dvc", "queue", "status") and time.monotonic() < end:
        time.sleep(1)
    names = ("in-place", "in-a-copy", "queued")
    assert flywheels(clone) == {"flywheel": "workspace"} | {name: name for name in names}
    # The copies leave nothing behind: stores belong to the original.
    assert not list((clone / ".dvc" / "tmp" / "exps").rglob("mlflow.db"))
    shown = run(clone, "dvc", "exp", "show", "--csv", "--only-changed")
    assert all(name in shown for name in names)


def test_an_experiment_and_its_start_are_compared(clone: Path) -> None:
    said = run(clone, "dvc", "metrics", "diff", "HEAD", "in-a-copy", "--md")
    assert "data/rounds/ppo-i3/card.json" in said
    assert "threshold" in said
    run(clone, "dvc", "plots", "diff", "HEAD", "in-a-copy", "--targets", "reports/elo.json")
    assert "ppo-i3" in (clone / "dvc_plots" / "index.html").read_text(encoding="utf-8")
