"""Open MLflow's store: find it, let one process write at a time, and repair it in a clone that was moved."""

from __future__ import annotations

import logging
import os
import sqlite3
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import chdir, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from arena_learning.core import ArenaError, Paths, check_location, write_text

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "arena-learning"
LOCK_SECONDS = 300.0
_POLL_SECONDS = 0.2
# Columns of MLflow's schema with absolute artifact paths.
LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("trace_tags", "value"),
)


class MlflowStore(NamedTuple):
    """An open store: MLflow's client, the experiment's id, the URI, and this project's id in the store."""

    client: MlflowClient
    experiment: str
    uri: str
    project: str


def store_uri(paths: Paths) -> str:
    """Return the tracking URI: that of the environment (a server), else the project's database."""
    return os.environ.get("MLFLOW_TRACKING_URI") or local_uri(paths)


def local_uri(paths: Paths) -> str:
    """Return the URI of the database in the project."""
    return f"sqlite:///{database(paths)}"


def database(paths: Paths) -> Path:
    """Return the database's file."""
    return paths.mlruns / "mlflow.db"


def artifacts(paths: Paths) -> Path:
    """Return the folder of the artifacts."""
    return paths.mlruns / "artifacts"


def settle_environment() -> None:
    """Set MLflow's environment variables: no telemetry, no printing, no long wait for a server that is down."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["DO_NOT_TRACK"] = "1"
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # it would print into the output of --json
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")


@contextmanager
def opened(paths: Paths) -> Iterator[MlflowStore]:
    """Open the store; create it if it does not exist.

    Other writers wait meanwhile, because two processes that create the schema at once would fail.

    Raises:
        ArenaError: MLflow cannot handle the project's path, or another process has been writing for too long.
    """
    check_location(paths)
    paths.mlruns.mkdir(parents=True, exist_ok=True)
    with _locked(paths.mlruns / ".lock"):
        uri = store_uri(paths)
        if uri == local_uri(paths):
            follow_move(database(paths), artifacts(paths))
        settle_environment()
        from mlflow import MlflowClient

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        if uri == local_uri(paths):
            _make_schema(uri, paths)
        client = MlflowClient(tracking_uri=uri)
        yield MlflowStore(client, _experiment(client, uri, paths), uri, _project(paths))


def follow_move(db: Path, folder: Path) -> None:
    """Update the artifact paths in a database that was moved with its clone.

    MLflow stores absolute paths and has no call to change them: a moved clone's artifacts could not be read, and a new
    store would lack what sweeps and prompts have written.
    """
    if not db.is_file():
        return
    with closing(sqlite3.connect(db)) as connection, connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "experiments" not in tables:
            return
        row = connection.execute(
            "SELECT artifact_location FROM experiments WHERE name = ?", (EXPERIMENT,)
        ).fetchone()
        if row is None or not row[0] or row[0] == str(folder):
            return
        for table, column in LOCATIONS:
            if table in tables:
                change = f"SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?"
                old = row[0]
                connection.execute(f"UPDATE {table} {change}", (str(folder), len(old) + 1, len(old), old))


def _make_schema(uri: str, paths: Paths) -> None:
    """Let MLflow create its tables and its default experiment if they do not exist.

    MLflow writes the current folder's name into an SQL statement and fails on quotes and colons. So this is done in a
    folder with a plain name, and the experiment's path is set to the project afterwards.
    """
    db = database(paths)
    if _rows_of_default(db):
        return
    from mlflow import MlflowClient

    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        MlflowClient(tracking_uri=uri).get_experiment_by_name(EXPERIMENT)
    with closing(sqlite3.connect(db)) as connection, connection:
        change = "UPDATE experiments SET artifact_location = ? WHERE experiment_id = 0"
        connection.execute(change, (str(paths.mlruns / "0"),))


def _rows_of_default(db: Path) -> int:
    if not db.is_file():
        return 0
    with closing(sqlite3.connect(db)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone():
            return 0
        found = connection.execute("SELECT count(*) FROM experiments WHERE experiment_id = 0").fetchone()
        return int(found[0])


def _experiment(client: MlflowClient, uri: str, paths: Paths) -> str:
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        # On a server, the server chooses where artifacts go.
        location = str(artifacts(paths)) if uri.startswith("sqlite:") else None
        return str(client.create_experiment(EXPERIMENT, artifact_location=location))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _project(paths: Paths) -> str:
    """Return the id that separates this project's runs from others on a shared server; created once."""
    file = paths.mlruns / "project"
    if not file.is_file():
        write_text(file, uuid.uuid4().hex + "\n")
    return file.read_text(encoding="utf-8").strip()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout

    try:
        held = FileLock(path, timeout=LOCK_SECONDS, poll_interval=_POLL_SECONDS).acquire()
    except Timeout:
        raise ArenaError(
            f"another process has been writing to MLflow's store for {LOCK_SECONDS:.0f} s",
            where=str(path),
            hint="wait for that `arena track`, or end it",
        ) from None
    with held:
        yield
