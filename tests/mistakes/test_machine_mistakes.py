"""Mistakes with the machine: environment, git, DVC, disk, rights, ports, and a run beside a run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from endpoint import FakeEndpoint

from arena_learning.core import Paths, hold_stage_lock
from mistakes.hour import Hour, told
from pipeline.project import environment, interruptible

REPRO = "arena repro prepare"
PROGRAMS = Path(sys.executable).parent


def without_programs(folder: Path, *names: str) -> str:
    """Return a PATH with the system's programs but for these, and without those of this environment."""
    folder.mkdir()
    for place in ("/bin", "/usr/bin"):
        for program in Path(place).iterdir():
            if program.name not in (*names, "arena", "dvc") and not (folder / program.name).exists():
                (folder / program.name).symlink_to(program)
    return str(folder)


def test_an_environment_that_is_not_activated(hour: Hour, tmp_path: Path) -> None:
    """`arena` by its path starts stages that call `arena` by its name."""
    path = without_programs(tmp_path / "bin")
    said = hour.shell("arena repro prepare", path=path)
    assert said.code == 127
    said = hour.shell(f"{PROGRAMS / 'arena'} doctor", path=path)
    assert f"source {PROGRAMS / 'activate'}" in said.out
    assert "Traceback" not in said.text
    done = hour.shell(f"{PROGRAMS / 'arena'} repro prepare", path=path)
    assert done.code == 0, done.text
    assert (hour.root / "data/prepared/card.json").is_file()


def test_no_git(hour: Hour, tmp_path: Path) -> None:
    path = without_programs(tmp_path / "bin", "git")
    arena = PROGRAMS / "arena"
    (hour.root / "new").mkdir()
    told(hour.shell(f"{arena} init new", path=path), "git is not installed", "install git")
    done = hour.shell("arena init new")
    assert done.code == 0, done.text


def test_a_folder_without_dvc(hour: Hour) -> None:
    shutil.rmtree(hour.root / ".dvc")
    said = hour.fails(REPRO, "not a DVC repository", "dvc init")
    hour.works(said.command)
    hour.works(REPRO)


def test_a_project_without_its_pipeline(hour: Hour) -> None:
    (hour.root / "dvc.yaml").unlink()
    said = hour.fails(REPRO, "dvc.yaml", "no such file")
    hour.works(said.command)
    hour.works(REPRO)


@pytest.mark.parametrize(
    "text",
    ["<<<<<<< HEAD\nschema: '2.0'\n=======\nschema: '2.1'\n>>>>>>> other\n", "schema: '2.0'\nstages:\n  inputs:\n    cm"],
    ids=["conflict", "torn"],
)  # fmt: skip
def test_a_lock_file_that_cannot_be_read(hour: Hour, text: str) -> None:
    hour.write("dvc.lock", text)
    said = hour.fails(REPRO, "dvc.lock", "rm dvc.lock")
    hour.works(said.command)
    hour.works(REPRO)


def test_a_lock_of_dvc_that_a_kill_has_cut(hour: Hour) -> None:
    hour.write(".dvc/tmp/rwlock", '{"a')
    said = hour.fails(REPRO, ".dvc/tmp/rwlock", "rm .dvc/tmp/rwlock")
    hour.works(said.command)
    hour.works(REPRO)


def test_a_pipeline_of_an_older_version(hour: Hour) -> None:
    hour.replace("data/inputs/code/judge.json", "data/inputs/code/jury.json", "dvc.yaml")
    said = hour.works("arena doctor", "dvc.yaml is not that of the installed version", "arena init --upgrade")
    hour.works("arena init --upgrade", "written")
    assert "not that of the installed version" not in hour.run("arena doctor").text
    assert said.code == 0


@pytest.fixture
def small_disk(hour: Hour, tmp_path: Path) -> Iterator[Hour]:
    """The project on a disk of 3 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root can mount a small disk")
    try:
        shutil.copytree(hour.root, place / "project", symlinks=True)
        hour.root = place / "project"
        yield hour
    finally:
        os.chdir("/")
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.parametrize("command", ["arena prepare", "arena answer strong", "arena rounds add"])
def test_a_full_disk(small_disk: Hour, command: str) -> None:
    hour = small_disk
    if command == "arena answer strong":
        hour.works("arena prepare")
    with hour.file("filler").open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(b"\0" * 4096)
        except OSError:
            pass
    said = hour.fails(command, "full", str(hour.root), "free some")
    assert hour.run(said.command).code == 0
    (hour.root / "filler").unlink()
    hour.works(command)


def test_a_limit_on_the_size_of_files(hour: Hour) -> None:
    """As a quota of a shared machine sets it."""
    said = hour.shell("ulimit -S -f 1; arena prepare")
    told(said, "the file may not grow", "run again")
    assert said.command == "ulimit -f unlimited"
    assert hour.shell("ulimit -S -f 1; ulimit -S -f unlimited; arena prepare").code == 0


def test_a_folder_that_may_only_be_read(hour: Hour) -> None:
    (hour.root / "data").chmod(0o555)
    try:
        # Rights bind root only without this capability.
        common = "setpriv --bounding-set -dac_override --inh-caps -dac_override " if os.geteuid() == 0 else ""
        if common and shutil.which("setpriv") is None:
            pytest.skip("root may write anywhere, and there is no setpriv to change that")
        said = told(
            hour.shell(f"{common}arena prepare"), "you may not write or read here", str(hour.root), "chmod"
        )
        hour.works(said.command)
        assert hour.shell(f"{common}arena prepare").code == 0
    finally:
        (hour.root / "data").chmod(0o755)


def test_a_second_run_beside_a_run(hour: Hour) -> None:
    with hold_stage_lock("prepare", Paths(hour.root)):
        said = hour.run("arena prepare")
    told(said, "'prepare' is already running", f"process {os.getpid()}", "wait until it finishes")
    hour.works("arena prepare")


def test_a_run_that_is_interrupted_goes_on(hour: Hour) -> None:
    with FakeEndpoint(latency=0.2) as server:
        one = {"engine": "openai", "model": "m", "base_url": server.base_url, "concurrency": 1}
        hour.set(lambda p: p["opponents"].update(far=one))
        hour.works("arena prepare")
        wanted = len(hour.rows("data/prepared/test.jsonl"))
        run = subprocess.Popen(
            ["arena", "answer", "far"], cwd=hour.root, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, preexec_fn=interruptible,
        )  # fmt: skip
        end = time.monotonic() + 60
        while len(server.requests) < 3 and time.monotonic() < end:
            time.sleep(0.02)
        run.send_signal(signal.SIGINT)
        said, _ = run.communicate(timeout=60)
        assert run.returncode == 130, said
        assert "Traceback" not in said, said
        assert "run it again" in said
        hour.works("arena answer far")
        # The request in flight, and a reply that was received and not yet saved, may have been asked again.
        assert len(server.requests) <= wanted + 2


def test_a_port_in_use(hour: Hour) -> None:
    database = hour.file("mlruns/mlflow.db")
    sqlite3.connect(database).close()
    database.touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = hour.fails(f"arena ui --port {port}", f"port {port} is in use", "--port")
    other = int(said.hint.split("--port ")[1].split()[0])
    assert other != port


def test_the_user_interface_before_anything_was_tracked(hour: Hour) -> None:
    shutil.rmtree(hour.root / "mlruns", ignore_errors=True)
    said = hour.fails("arena ui", "no MLflow store yet", "arena track")
    # It makes the store, and says what there is to do before a store has something to show.
    then = told(hour.shell(said.command), "nothing to show", "run `arena repro`")
    assert then.command == "arena repro"
    assert (hour.root / "mlruns/mlflow.db").is_file()


def test_a_store_of_mlflow_from_a_newer_version(hour: Hour) -> None:
    told(hour.shell("arena track"), "nothing to show")
    with sqlite3.connect(hour.root / "mlruns/mlflow.db") as db:
        db.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    db.close()
    said = told(hour.shell("arena track"), "mlflow.db", "another version of MLflow")
    hour.works(said.command)
    said = told(hour.shell("arena track"), "nothing to show")
    assert "another version" not in said.err


def test_a_store_that_is_none(hour: Hour) -> None:
    hour.works("arena prepare")
    hour.write(".arena/store.sqlite", "not a database, but long enough to be taken for one" * 100)
    said = hour.fails("arena answer strong", "store.sqlite", "not a database", "mv ")
    hour.works(said.command)
    hour.works("arena answer strong")


@pytest.mark.parametrize(
    ("command", "then"),
    [
        ("arena leaderboard --print", "arena leaderboard"),
        ("arena answer base", "arena prepare"),
        ("arena battle sft-i1", "arena prepare"),
        ("arena judge sft-i1", "arena prepare"),
        ("arena dataset sft-i1", "arena prepare"),
        ("arena train sft-i1", "arena weights"),
        ("arena promote", "arena train dpo-i1"),
        ("arena show round sft-i1", "arena dataset sft-i1"),
        ("arena show battle sft-i1 writing-001", "arena judge sft-i1"),
        ("arena export --to folder", "arena train dpo-i1"),
        ("arena serve sft-i1", "arena train sft-i1"),
        ("arena sweep selection sft-i1 --no-track", ""),
        ("arena evaluate --split validation", "arena prepare"),
    ],
)
def test_a_step_before_the_one_that_it_needs(hour: Hour, command: str, then: str) -> None:
    said = hour.fails(command, "hint: run `arena repro`")
    assert f"`{then}` alone" in said.hint or not then, said.text


def test_an_unknown_split(hour: Hour) -> None:
    hour.fails("arena evaluate --split tset", "no split 'tset'", "did you mean 'test'")


def test_a_sweep_on_the_test_set(hour: Hour) -> None:
    hour.fails("arena sweep selection sft-i1 --split test", "'test'", "leave --split out", "validation")


def test_an_unknown_sweep(hour: Hour) -> None:
    hour.fails("arena sweep show selecton", "no finished sweep 'selecton'")


def test_json_of_figures_is_whole(hour: Hour) -> None:
    assert json.loads(hour.works("arena doctor --json").out)
