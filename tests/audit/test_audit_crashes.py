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

from arena_learning.errors import ArenaError
from arena_learning.store import Store

SCRIPT = Path(__file__).parent / "crash_run.py"
KILLS = 20


def start(folder, number=0):
    arguments = [str(folder / "store.sqlite"), str(folder / "bill.txt"), str(folder / f"out{number}")]
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout
    process.stdout.readline()
    return process


def finish(process):
    process.communicate(timeout=120)
    return process.returncode


def paid_twice(folder):
    paid = (folder / "bill.txt").read_text().splitlines()
    assert len(set(paid)) == GAMES, "nothing is lost"
    return len(paid) - GAMES


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    digest = run(folder / "store.sqlite", folder / "bill.txt")
    assert paid_twice(folder) == 0
    return digest


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_kills_at_random_moments_lose_nothing_and_pay_twice_what_was_in_flight(tmp_path, undisturbed):
    moments = random.Random(7)
    killed = 0
    for _ in range(KILLS):
        process = start(tmp_path)
        time.sleep(moments.uniform(0.02, 0.17))
        process.send_signal(signal.SIGKILL)
        killed += finish(process) == -signal.SIGKILL
    assert finish(start(tmp_path)) == 0
    assert (tmp_path / "out0").read_text() == undisturbed
    twice = paid_twice(tmp_path)
    print(f"{killed} kills, {GAMES} games, {twice} paid twice, at most {killed * BATCH} in flight")
    assert killed == KILLS
    assert 0 < twice <= killed * BATCH


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_processes_share_a_store_and_do_each_others_work(tmp_path, undisturbed):
    both = [start(tmp_path, number) for number in range(2)]
    assert [finish(process) for process in both] == [0, 0]
    for number in range(2):
        assert (tmp_path / f"out{number}").read_text() == undisturbed
    twice = paid_twice(tmp_path)
    print(f"two processes, {GAMES} games, {twice} paid twice")
    # They start on the same window of eight batches; from then on they meet by chance only.
    assert twice <= GAMES // 4


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
    assert run(path, tmp_path / "bill.txt") == undisturbed
    assert paid_twice(tmp_path) <= BATCH
