"""A stage's lock, and the end of a stage that DVC has left behind; real processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from arena_learning.core import lock_owner
from arena_learning.core.errors import ArenaError
from arena_learning.core.lock_owner import read_owner
from arena_learning.core.paths import Paths
from arena_learning.core.stage_lock import hold_stage_lock

# A parent that starts a stage, says who it is, and is killed; the stage sleeps for longer than the test waits.
STAGE = """
import sys, time
from pathlib import Path
from arena_learning.core.stage_lock import hold_stage_lock
from arena_learning.core.paths import Paths
with hold_stage_lock("battle r1", Paths(Path(sys.argv[1]))):
    print("in", flush=True)
    time.sleep(60)
"""
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1], sys.argv[2]])"


def start(root: Path, **environment: str) -> subprocess.Popen[str]:
    """Start the parent and wait until its stage holds the lock."""
    kept = {k: v for k, v in os.environ.items() if k != "DVC_STAGE"}
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, STAGE, str(root)],
        stdout=subprocess.PIPE,
        text=True,
        env={**kept, **environment},
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "in\n"
    return parent


def owner(root: Path) -> int:
    return int(read_owner(Paths(root).lock("battle r1")).process)


def alive(process: int) -> bool:
    """Whether the process runs (a zombie whose new parent has not reaped it yet does not)."""
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def kill(parent: subprocess.Popen[str]) -> None:
    parent.kill()
    parent.wait()
    assert parent.stdout is not None
    parent.stdout.close()


def test_a_second_copy_of_a_stage_says_who_runs_it(tmp_path: Path) -> None:
    parent = start(tmp_path)
    stage = owner(tmp_path)
    try:
        message = f"'battle r1' is already running \\(process {stage}\\)"
        with pytest.raises(ArenaError, match=message), hold_stage_lock("battle r1", Paths(tmp_path)):
            pass
        with hold_stage_lock("battle r2", Paths(tmp_path)):
            pass  # another round's lock is its own
    finally:
        os.kill(stage, signal.SIGKILL)
        kill(parent)


def test_a_lock_is_free_again_after_a_kill(tmp_path: Path) -> None:
    parent = start(tmp_path)
    os.kill(owner(tmp_path), signal.SIGKILL)
    kill(parent)
    with hold_stage_lock("battle r1", Paths(tmp_path)):
        assert owner(tmp_path) == os.getpid()


def test_a_stage_ends_when_dvc_is_killed(tmp_path: Path) -> None:
    parent = start(tmp_path, DVC_STAGE="battle@r1")
    stage = owner(tmp_path)
    kill(parent)
    end = time.monotonic() + 30
    while alive(stage) and time.monotonic() < end:
        time.sleep(0.1)
    assert not alive(stage)


def test_a_stage_started_by_hand_outlives_its_shell(tmp_path: Path) -> None:
    parent = start(tmp_path)
    stage = owner(tmp_path)
    kill(parent)
    time.sleep(2.5)  # the watch of a stage of DVC's looks every second
    assert alive(stage)
    os.kill(stage, signal.SIGKILL)


# A stage of another machine, as a shared file system shows it: its name in the file, and no lock that is seen here.
ELSEWHERE = """
import sys
from arena_learning.core import lock_owner
lock_owner.this_machine = lambda: "another"
lock_owner.socket.gethostname = lambda: "node7"
lock_owner.BEAT_SECONDS = 0.2
from pathlib import Path
with lock_owner.sign_of_life(Path(sys.argv[1])):
    print("in", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that runs stage "judge r1" as another machine would, until its input ends."""
    lock = Paths(tmp_path).lock("judge r1")
    lock.parent.mkdir(parents=True)
    lock.touch()
    process = subprocess.Popen(
        [sys.executable, "-c", ELSEWHERE, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "in\n"
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("stage", ["judge r1", "battle r2"])
def test_a_stage_is_refused_while_another_machine_runs_one(
    tmp_path: Path, elsewhere: subprocess.Popen[str], stage: str
) -> None:
    message = rf"'judge r1' is running on another machine \(process {elsewhere.pid} on node7\)"
    with pytest.raises(ArenaError, match=message) as caught, hold_stage_lock(stage, Paths(tmp_path)):
        pass
    assert "one machine: its store serves one" in caught.value.hint
    elsewhere.communicate("")  # it ends, and empties its file
    with hold_stage_lock(stage, Paths(tmp_path)):
        assert read_owner(Paths(tmp_path).lock(stage)).process == str(os.getpid())


def test_a_stage_that_died_on_another_machine_stops_nobody(
    tmp_path: Path, elsewhere: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_owner, "SILENCE_SECONDS", 2.0)
    elsewhere.kill()
    elsewhere.wait()
    lock = Paths(tmp_path).lock("judge r1")
    assert not read_owner(lock).here
    with hold_stage_lock("battle r2", Paths(tmp_path)):
        assert lock.read_text(encoding="utf-8") == ""  # the next stage waits no more


def test_a_stage_names_its_machine_and_leaves_an_empty_file(tmp_path: Path) -> None:
    path = Paths(tmp_path).lock("battle r1")
    with hold_stage_lock("battle r1", Paths(tmp_path)):
        assert read_owner(path)[:3] == (str(os.getpid()), socket.gethostname(), lock_owner.this_machine())
    assert path.read_text(encoding="utf-8") == ""
    path.write_text("17", encoding="utf-8")  # as earlier versions left it
    with hold_stage_lock("battle r1", Paths(tmp_path)):
        pass
