"""MLflow's tables and threads, which it does not promise: an upgrade that moves them fails here, in words."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing

from arena_learning.tracking.mlflow_store import LOCATIONS, artifacts, database, opened
from arena_learning.tracking.prompts import register
from private_parts import moved

MOVE = "track/store.py points a moved clone's database at its artifacts by the columns in LOCATIONS"


def columns(db: sqlite3.Connection) -> set[tuple[str, str]]:
    tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {(table, row[1]) for table in tables for row in db.execute(f'PRAGMA table_info("{table}")')}


def test_the_columns_that_follow_a_moved_clone_are_there(shown):
    _, paths = shown
    with closing(sqlite3.connect(database(paths))) as db:
        gone = set(LOCATIONS) - columns(db)
    if gone:
        moved("mlflow", f"its table's column {sorted(gone)}", MOVE)


def test_no_other_column_holds_a_path_of_the_clone(shown):
    _, paths = shown
    here = f"%{artifacts(paths)}%"
    with closing(sqlite3.connect(database(paths))) as db:
        holding = {
            (table, column)
            for table, column in columns(db)
            if db.execute(f'SELECT 1 FROM "{table}" WHERE "{column}" LIKE ? LIMIT 1', (here,)).fetchone()
        }
    assert ("runs", "artifact_uri") in holding
    if holding - set(LOCATIONS):
        moved("mlflow", f"a path stands in {sorted(holding - set(LOCATIONS))}, too", MOVE)


def test_the_thread_that_links_a_prompt_goes_by_the_name_that_is_waited_for(project, monkeypatch):
    _, paths = project
    started, start = [], threading.Thread.start

    def noting(thread):
        started.append(thread.name)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", noting)
    with opened(paths) as store:
        register(store, ["json"], paths.root)
    if not any(name.startswith("link_prompt_to_experiment") for name in started):
        use = "track/prompts.py waits for it before it links the prompt to the project's experiment"
        moved("mlflow", f"the name of the thread that links a prompt (it started {started})", use)
