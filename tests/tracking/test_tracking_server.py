"""`arena ui`: what is served, and what a user can fix."""

from __future__ import annotations

import socket

import pytest

from arena_learning.core.errors import ArenaError
from arena_learning.tracking.server import HOST, free_port, serve, server_command, server_environment


def test_the_server_listens_on_this_machine_only_without_telemetry(project):
    _, paths = project
    command = server_command(paths, free_port())
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert f"sqlite:///{paths.mlruns}/mlflow.db" in command
    assert server_environment()["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_without_a_store_it_says_how_to_make_one(tmp_path):
    from arena_learning.core.paths import Paths

    with pytest.raises(ArenaError, match="no MLflow store yet") as raised:
        server_command(Paths(tmp_path), 5000)
    assert "arena track" in str(raised.value)


def test_a_port_that_is_taken_is_named(project):
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ArenaError, match=f"port {port} is in use"):
            server_command(project[1], port)


def test_a_store_on_a_server_is_not_served_again(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(ArenaError, match="on a server"):
        serve(project[1], free_port())
