"""kill -9 at random moments, two processes on one store, a full disk: the same battles, and a bill that is bounded."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from crash_run import BATCH, GAMES, run

from arena_learning.core.errors import ArenaError
from arena_learning.store.store import Store

SCRIPT = Path(__file__).parent / "crash_run.py"
KILLS = 20


def start(folder, number=0):
    """Start a run that waits at the beginning until it is told to `go`."""
    arguments = [str(folder / "store.sqlite"), str(folder / "bill.txt"), str(folder / f"out{number}")]
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def go(process):
    process.stdin.write("go\n")
    process.stdin.flush()
    return process


def finish(process):
    process.communicate(timeout=120)
    return process.returncode


def result(folder, number=0):
    digest, paid = (folder / f"out{number}").read_text().split()
    return digest, int(paid)


def size_of_bill(folder):
    bill = folder / "bill.txt"
    return bill.stat().st_size if bill.exists() else 0


def paid_twice(folder):
    paid = (folder / "bill.txt").read_text().splitlines()
    assert len(set(paid)) == GAMES, "nothing is lost"
    return len(paid) - GAMES


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    digest, _ = run(folder / "store.sqlite", folder / "bill.txt")
    assert paid_twice(folder) == 0
    return digest


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_kills_at_random_moments_lose_nothing_and_pay_twice_what_was_in_flight(tmp_path, undisturbed):
    moments = random.Random(7)
    killed = 0
    for turn in range(KILLS):
        process = start(tmp_path)
        billed = size_of_bill(tmp_path)
        go(process)
        if turn % 2:  # half of the kills come when something was paid, however slow the machine is
            end = time.monotonic() + 30
            while size_of_bill(tmp_path) == billed and time.monotonic() < end:
                time.sleep(0.002)
        time.sleep(moments.uniform(0.02, 0.17))
        process.send_signal(signal.SIGKILL)
        killed += finish(process) == -signal.SIGKILL
    assert finish(go(start(tmp_path))) == 0
    assert result(tmp_path)[0] == undisturbed
    twice = paid_twice(tmp_path)
    print(f"{killed} kills, {GAMES} games, {twice} paid twice, at most {killed * BATCH} in flight")
    assert killed == KILLS
    assert 0 < twice <= killed * BATCH


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_processes_on_one_store_share_the_work_and_pay_for_nothing_twice(tmp_path, undisturbed):
    both = [start(tmp_path, number) for number in range(2)]
    for process in both:
        go(process)
    assert [finish(process) for process in both] == [0, 0]
    found = [result(tmp_path, number) for number in range(2)]
    assert [digest for digest, _ in found] == [undisturbed] * 2
    paid = [paid for _, paid in found]
    print(f"two processes, {GAMES} games: {paid[0]} and {paid[1]} paid, {paid_twice(tmp_path)} paid twice")
    assert paid_twice(tmp_path) == 0
    assert sum(paid) == GAMES


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_process_does_the_work_of_another_that_is_killed_beside_it(tmp_path, undisturbed):
    """One runs to its end, another is killed four times: twice paid is at most what was in flight at each kill."""
    moments = random.Random(11)
    lasting, *victims = [start(tmp_path, number) for number in range(5)]
    go(lasting)
    killed = 0
    for process in victims:
        go(process)
        time.sleep(moments.uniform(0.15, 0.3))
        process.send_signal(signal.SIGKILL)
        killed += finish(process) == -signal.SIGKILL
    assert finish(lasting) == 0
    assert result(tmp_path, 0)[0] == undisturbed
    twice = paid_twice(tmp_path)
    print(f"two processes, {killed} kills of one, {twice} paid twice, at most {killed * BATCH} in flight")
    assert twice <= killed * BATCH
    with Store(tmp_path / "store.sqlite") as store:
        store.lease([b"another"])
        assert len(list((tmp_path / "store.sqlite.holders").iterdir())) == 1, "locks of the dead are swept up"


def test_a_disk_that_is_full_stops_the_run_and_space_lets_it_go_on(tmp_path, undisturbed, monkeypatch):
    path = tmp_path / "store.sqlite"
    plain = Store.__init__

    def cramped(self, *args, **fields):
        plain(self, *args, **fields)
        self._db.execute("PRAGMA max_page_count = 120")

    monkeypatch.setattr(Store, "__init__", cramped)
    with pytest.raises(ArenaError, match="database or disk is full"):
        run(path, tmp_path / "bill.txt")
    with Store(path) as store:
        kept = store.count("game")
    assert kept > 0
    monkeypatch.setattr(Store, "__init__", plain)
    assert run(path, tmp_path / "bill.txt")[0] == undisturbed
    assert paid_twice(tmp_path) <= BATCH
