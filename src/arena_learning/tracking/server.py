"""Serve MLflow's user interface on the project's store."""

from __future__ import annotations

import os
import socket
import sys
from typing import NoReturn

from arena_learning.core import ArenaError, Paths, check_location
from arena_learning.tracking.mlflow_store import artifacts, database, follow_move, local_uri, store_uri

HOST = "127.0.0.1"


def serve(paths: Paths, port: int) -> NoReturn:
    """Replace this process by the server, so that stopping it stops the server.

    Raises:
        ArenaError: there is no store yet, the store is on a server, or the port is in use.
    """
    if store_uri(paths) != local_uri(paths):
        raise ArenaError("the runs are on a server", where="MLFLOW_TRACKING_URI", hint="open that address")
    command = server_command(paths, port)
    sys.stderr.write(f"MLflow: http://{HOST}:{port} (Ctrl-C stops it)\n")
    sys.stderr.flush()
    os.execve(command[0], command, server_environment())


def server_command(paths: Paths, port: int) -> list[str]:
    """Return the command that serves the project's store, on this machine only.

    Raises:
        ArenaError: MLflow cannot handle the project's path, there is no store yet, or the port is in use.
    """
    check_location(paths)
    if not database(paths).is_file():
        raise ArenaError("no MLflow store yet", where=str(database(paths)), hint="make it with `arena track`")
    follow_move(database(paths), artifacts(paths))
    if not is_free(port):
        raise ArenaError(
            f"port {port} is in use", where="--port", hint="give another one, such as --port 5001"
        )
    return [
        *(sys.executable, "-m", "mlflow", "server"),
        *("--backend-store-uri", local_uri(paths)),
        *("--default-artifact-root", str(artifacts(paths))),
        *("--host", HOST, "--port", str(port), "--workers", "1"),
    ]


def server_environment() -> dict[str, str]:
    """Return the server's environment: no telemetry, and no job workers, which are not needed here."""
    return {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "1",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


def is_free(port: int) -> bool:
    """Whether no program listens on the port of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
