"""A sweep that is killed loses no finished trial, tries the running one again, and MLflow shows what Optuna knows."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import optuna
import pytest
from slow_sweep import SPACE

from arena_learning.core.json_files import read_json
from arena_learning.sweep.storage import drop_broken_line, open_storage

GRID = {tuple(row) for row in product(*SPACE.values())}


def start(paths, file, url, seconds=0.12):
    here = Path(__file__).parent
    command = [
        sys.executable,
        str(here / "slow_sweep.py"),
        str(paths.root),
        str(file),
        str(seconds),
        url,
    ]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def kill_in_trial(process, number):
    """Wait until the process has begun a trial, let it go on for a moment, and kill it."""
    for line in process.stderr:
        if line.startswith(f"trial {number}: "):
            time.sleep(0.1)
            process.kill()
            process.communicate()
            return
    pytest.fail(f"trial {number} never began")


def study_of(paths, url):
    storage = open_storage(url, paths.sweep_journal)
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage)


def tried(trial):
    return trial.params["judges.longer.tie_margin"], trial.params["judge.disagree"]


@pytest.mark.slow
def test_on_a_database_killed_twice_and_resumed_from_two_terminals_every_combination_is_recorded_once(
    files, tmp_path, write_pairs
):
    """The same with the journal, `--workers 2` and MLflow is in test_sweep_workers.py."""
    _, paths = files
    file = write_pairs(tmp_path / "pairs.jsonl")
    url = f"sqlite:///{tmp_path / 'sweeps.db'}"
    kill_in_trial(start(paths, file, url), 2)
    kill_in_trial(start(paths, file, url), 4)
    both = [start(paths, file, url) for _ in range(2)]
    ended = [process.communicate(timeout=200) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended

    study = study_of(paths, url)
    finished = [t for t in study.trials if t.state.is_finished() and not t.user_attrs.get("died")]
    assert sorted(map(tried, finished)) == sorted(GRID)
    died = [t for t in study.trials if t.user_attrs.get("died")]
    assert len(died) == 2
    assert sorted(t.user_attrs["retry_of"] for t in finished if "retry_of" in t.user_attrs) == sorted(
        t.number for t in died
    )
    report = read_json(paths.sweep_report(study.study_name))
    assert [t["number"] for t in report["trials"]] == [t.number for t in finished]


def test_a_line_cut_off_by_a_crash_does_not_spoil_the_journal(tmp_path):
    journal = tmp_path / "journal.log"
    study = optuna.create_study(study_name="s", storage=open_storage("", journal))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code": 4, "worker_id": "abc')
    again = optuna.load_study(study_name="s", storage=open_storage("", journal))
    again.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    assert journal.read_bytes().startswith(whole)
    assert all(json.loads(line) for line in journal.read_text().splitlines())
    assert len(optuna.load_study(study_name="s", storage=open_storage("", journal)).trials) == 3
    drop_broken_line(journal)
    assert journal.read_bytes().endswith(b"\n")
