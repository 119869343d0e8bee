"""What tracking must never do: leak a secret, or kill a stage."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from arena_files import make_project
from click.testing import CliRunner

from arena_learning.core.json_files import write_text
from arena_learning.tracking import track_project

SECRET = "sk-planted-0123456789"


@pytest.fixture
def run_track(project, monkeypatch):
    """Call `arena track` in the project."""
    from arena_learning.cli.track import command

    monkeypatch.chdir(project[1].root)
    return lambda *options: CliRunner().invoke(command, options, catch_exceptions=False)


def test_no_secret_reaches_the_store(tmp_path, template, monkeypatch):
    monkeypatch.setenv("ARENA_TEST_KEY", SECRET)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    params, paths = make_project(tmp_path / "clone", secret=SECRET)
    shutil.copytree(template, paths.mlruns)
    report = track_project(params, paths)
    assert not report.failed
    assert SECRET in paths.params.read_text(encoding="utf-8")
    held = [
        path for path in paths.mlruns.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()
    ]
    assert held == []


def test_a_password_in_an_address_is_not_shown(project, monkeypatch):
    params, paths = project
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:{SECRET}@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    report = track_project(params, paths)
    assert report.failed
    assert SECRET not in str(report)


def test_a_server_that_is_down_is_an_error_without_a_traceback(run_track, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    result = run_track()
    assert result.exit_code == 2
    assert "error: MLflow (http://127.0.0.1:9)" in result.stderr


def test_a_malformed_file_is_an_error(project, run_track):
    write_text(project[1].leaderboard, "[]")
    result = run_track()
    assert result.exit_code == 2
    assert "leaderboard.json: expected a JSON object, found list" in result.stderr


def test_a_broken_database_is_an_error(project, run_track):
    (project[1].mlruns / "mlflow.db").write_bytes(b"no database at all" * 100)
    result = run_track()
    assert result.exit_code == 2
    assert "error: MLflow (sqlite:" in result.stderr


def test_the_file_store_that_mlflow_gave_up_is_an_error(run_track, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path}/old")
    assert run_track().exit_code == 2


def test_a_warning_beside_runs_that_are_shown_is_no_error_but_with_strict(project, run_track):
    params = project[1].params
    old = "threshold: 1.0"
    text = params.read_text(encoding="utf-8")
    assert old in text
    write_text(params, text.replace(old, "threshold: 1.5", 1))
    result = run_track()
    assert result.exit_code == 0
    assert "ran with threshold 1.0, params.yaml says 1.5" in result.stderr
    assert run_track("--strict").exit_code == 1


def test_nothing_new_is_a_success(run_track):
    assert run_track().exit_code == 0
    again = run_track("--strict")
    assert again.exit_code == 0
    assert "unchanged" in again.stdout


def test_figures_are_printed_as_json(run_track):
    import json

    report = json.loads(run_track("--json").stdout)
    assert report["logged"][0] == "flywheel"
    assert report["failed"] is False


def test_an_empty_project_says_what_to_do(project, run_track):
    root: Path = project[1].root
    shutil.rmtree(root / "data")
    shutil.rmtree(root / "reports")
    result = run_track()
    assert result.exit_code == 2
    assert (
        "error: nothing to show: no stage of a round has written a file; run `arena repro`" in result.stderr
    )
