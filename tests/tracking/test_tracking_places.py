"""Projects in folders of odd names: the store is in the project, or the folder is refused before anything is done."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from arena_files import make_project
from click.testing import CliRunner

from arena_learning.cli.main import cli
from arena_learning.core.errors import ArenaError
from arena_learning.project.doctor import examine
from arena_learning.tracking import track_project
from arena_learning.tracking.server import free_port, server_command

FINE = [
    "a b",
    "it's",
    'say "hi"',
    "naïve 数学",
    "C#",
    "a+b&c=d;e",
    "[x]*",
    "100%",
    "a%zz",
    "$HOME",
    "~a",
    "a:b",
    "a::b",
]
MISREAD = ["a%20b", "a%2Fb", "q?x", "?", "{k}", "a{b", "a}b", "${x}", "%41"]


def made(folder: Path, template: Path):
    params, paths = make_project(folder / "clone")
    shutil.copytree(template, paths.mlruns)
    return params, paths


def all_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize("name", FINE)
def test_the_runs_and_their_files_are_in_the_project(tmp_path, template, name):
    params, paths = made(tmp_path / name, template)
    report = track_project(params, paths)
    assert (report.warnings, report.failed) == ([], False)
    assert list((paths.mlruns / "artifacts").rglob("elo.json"))
    again = track_project(params, paths)
    assert (again.logged, len(again.unchanged)) == ([], len(report.logged))
    assert {path.name for path in tmp_path.iterdir()} == {name}
    assert str(paths.mlruns) in " ".join(server_command(paths, free_port()))


@pytest.mark.parametrize("name", MISREAD)
def test_a_path_that_would_be_misread_is_refused_before_anything_is_written(tmp_path, template, name):
    params, paths = made(tmp_path / name, template)
    # What MLflow would take the path for: it must not be written to.
    (tmp_path / "a b" / "clone" / "mlruns").mkdir(parents=True)
    before = all_below(tmp_path)
    report = track_project(params, paths)
    assert report.failed
    assert "the project's path contains" in report.warnings[-1]
    assert all_below(tmp_path) == before
    with pytest.raises(ArenaError, match="the project's path contains"):
        server_command(paths, free_port())
    assert any(f.level == "fail" and "the project's path contains" in f.what for f in examine(paths))


@pytest.mark.parametrize("name", MISREAD[:3])
@pytest.mark.parametrize("command", ["prepare", "track", "leaderboard"])
def test_every_stage_says_so_before_it_runs(tmp_path, name, command, monkeypatch):
    _, paths = make_project(tmp_path / name)
    monkeypatch.chdir(paths.root)
    with pytest.raises(ArenaError, match="rename the folder"):
        CliRunner().invoke(cli, [command], catch_exceptions=False)


@pytest.mark.parametrize("name", ["C#", "数学"])
def test_the_doctor_says_where_experiments_in_a_copy_do_not_run(tmp_path, name):
    _, paths = make_project(tmp_path / name)
    assert any(f.level == "warn" and "cannot run experiments in a copy" in f.what for f in examine(paths))


@pytest.mark.parametrize("name", ['it\'s "ä 数" #1', "a:b c'd"])
def test_a_new_store_is_made_below_any_such_name(tmp_path, name, monkeypatch):
    """MLflow writes the current folder's name into SQL when it makes the store."""
    params, paths = make_project(tmp_path / name)
    monkeypatch.chdir(paths.root)
    report = track_project(params, paths)
    assert (report.warnings, report.failed) == ([], False)
    assert Path.cwd() == paths.root
    with closing(sqlite3.connect(paths.mlruns / "mlflow.db")) as db:
        found = dict(db.execute("SELECT name, artifact_location FROM experiments"))
    assert found == {"Default": str(paths.mlruns / "0"), "arena-learning": str(paths.mlruns / "artifacts")}
