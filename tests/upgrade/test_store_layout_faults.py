"""Laying a store out anew, whoever is killed, opens or writes it at the same time, or fills the disk: nothing is lost."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from old_layout import OLD_PUT, check, is_old, key, names, plain, value

from arena_learning.store.store import Store

OPENER = """
import sys
from pathlib import Path
from arena_learning.store import layout as store_layout
from arena_learning.store.store import Store
store_layout._REST = float(sys.argv[2])
store_layout._PART = store_layout._PART.replace("1000", sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
with Store(Path(sys.argv[1])) as store:
    print("opened", flush=True)
"""
OLD_WRITER = f"""
import sqlite3, sys, time
from hashlib import sha256
db = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
print("ready", flush=True)
sys.stdin.readline()
for n in range(100000):
    key = sha256(f"writer {{n}}".encode()).digest()
    db.execute("BEGIN IMMEDIATE")
    db.execute({OLD_PUT!r}, (key, "game", '{{"n":%d}}' % n))
    db.execute({OLD_PUT!r}, (sha256(b"0").digest(), "game", '{{"n":%d}}' % n))  # a known key, again and again
    db.execute("COMMIT")
    print(n, flush=True)
    time.sleep(0.005)
"""
ENLARGED = """
import resource, sys
from pathlib import Path
from arena_learning.store.store import Store
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
Store(Path(sys.argv[1])).close()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def start(script, *arguments):
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def go(process):
    process.stdin.write("go\n")
    process.stdin.flush()
    return process


def test_several_processes_open_an_old_store_at_once(old):
    path = old(8000)
    openers = [start(OPENER, path, 0.25, 500) for _ in range(4)]
    for opener in openers:
        go(opener)
    assert [(o.communicate(timeout=120)[0], o.returncode) for o in openers] == [("opened\n", 0)] * 4
    check(path, 8000)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_kills_at_random_moments_and_a_writer_of_an_older_version_lose_nothing(old):
    path, moments = old(12_000), random.Random(5)
    writer = go(start(OLD_WRITER, path))
    half_made = 0
    for turn in range(8):
        openers = [go(start(OPENER, path, 60, 100)) for _ in range(2)]
        if turn % 2:  # half of the kills come when the copy has begun, however slow the machine is
            end = time.monotonic() + 30
            while "memory_copy" not in names(path) and is_old(path) and time.monotonic() < end:
                time.sleep(0.01)
        for opener in openers:
            time.sleep(moments.uniform(0.02, 0.25))
            opener.send_signal(signal.SIGKILL)
            opener.communicate(timeout=60)
        half_made += "memory_copy" in names(path)
        assert is_old(path) or "memory_copy" not in names(path)
    assert half_made >= 3, "kills came in the middle"
    opener = go(start(OPENER, path, 0.25, 1000))
    assert opener.communicate(timeout=120) == ("opened\n", None)
    writer.send_signal(signal.SIGKILL)
    said = writer.communicate(timeout=60)[0].split()
    last = int(said[-1])
    assert last > 50
    assert not is_old(path)
    with Store(path) as store:
        assert store.get([key(n) for n in range(1, 12_000)]) == {key(n): value(n) for n in range(1, 12_000)}
        assert store.get([key(f"writer {n}") for n in range(last + 1)]) == {
            key(f"writer {n}"): {"n": n} for n in range(last + 1)
        }
        assert store.get([key(0)])[key(0)]["n"] in (last, last + 1)
        assert store._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_store(old):
    path = old(40_000)
    assert path.stat().st_size > 40 * 2**20
    grown = subprocess.run(
        [sys.executable, "-c", ENLARGED, str(path)], capture_output=True, text=True, check=True
    )
    assert int(grown.stdout) < 16 * 1024  # KiB
    assert not is_old(path)


LIMITED = """
import resource, sys
from pathlib import Path
from arena_learning.store import layout as store_layout
from arena_learning.core.errors import ArenaError
from arena_learning.store.store import Store
path, limit = Path(sys.argv[1]), int(sys.argv[2])
store_layout._QUIET_SECONDS = 60  # a busy machine is no failure
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
if sys.argv[3] == "met":
    store_layout._ROOM = -(2**40)  # as if others filled the disk after it was looked at
with Store(path) as store:
    print(len(store.get([bytes.fromhex(line) for line in sys.stdin.read().split()])))
    print(*(row[0] for row in store._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")))
    try:
        store.put("game", {b"another": {"n": 1}})
    except ArenaError as error:
        print(error.what)
    else:
        print("put", store.get([b"another"]))
"""


def open_limited(path, rows, limit, room, *before):
    """Open in another process: where no file may grow beyond ``limit``, with the room for the copy counted or met."""
    keys = "\n".join(key(n).hex() for n in range(rows))
    command = [*before, sys.executable, "-c", LIMITED, str(path), str(limit), room]
    return subprocess.run(command, input=keys, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("limit", [300_000, 2_000_000])
def test_where_a_file_cannot_grow_the_old_store_stays_whole(old, limit):
    path = old(4000)
    done = open_limited(path, 4000, limit, "counted")
    assert done.returncode == 0, done.stderr
    found, tables, put = done.stdout.splitlines()
    assert (found, tables.split()[0]) == ("4000", "memory")
    (line,) = done.stderr.splitlines()
    assert "the disk is full" in line
    assert "nothing is lost" in line
    assert is_old(path)
    with plain(path) as db:
        assert db.execute("DELETE FROM memory WHERE key = ?", (b"another",)).rowcount == put.startswith("put")
    check(path, 4000)


# A disk of its own, half a megabyte larger than the store. What is on it goes with the command: it is copied back.
SMALL_DISK = """
mount -t tmpfs -o size="$1" none "$2" && cp "$3" "$2/store.sqlite"
out="$4"; shift 4; "$@"; result=$?; cp "${0}"* "$out"; exit $result
"""


@pytest.mark.parametrize("room", ["counted", "met"])
def test_a_disk_that_is_really_full_leaves_the_old_store_as_it_is(old, tmp_path, room):
    path, disk, out = old(12_000, "template.sqlite"), tmp_path / "disk", tmp_path / "out"
    disk.mkdir()
    out.mkdir()
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    probe = [*unshare, "sh", "-c", 'mount -t tmpfs none "$0"', str(disk)]
    if not shutil.which("unshare") or subprocess.run(probe, check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a small disk (unshare --user --mount)")
    inside = disk / "store.sqlite"
    arguments = [str(path.stat().st_size + 2**19), str(disk), str(path), str(out)]
    before = [*unshare, "sh", "-c", SMALL_DISK, str(inside), *arguments]
    done = open_limited(inside, 12_000, 0, room, *before)
    assert done.returncode == 0, done.stderr
    found, tables, put = done.stdout.splitlines()
    assert (found, tables.split(), put) == (
        "12000",
        ["memory", "claims", "spending"],
        f"put { {b'another': {'n': 1}} }",
    )
    (line,) = done.stderr.splitlines()
    assert ("the disk is full" if room == "met" else "the store keeps its older layout") in line
    assert is_old(out / "store.sqlite")
    with plain(out / "store.sqlite") as db:
        db.execute("DELETE FROM memory WHERE key = ?", (b"another",))
    check(out / "store.sqlite", 12_000)
