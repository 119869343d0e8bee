"""Two stores on one file stand for two processes: a lock is of the store, not of the process."""

from __future__ import annotations

import subprocess
import sys

import pytest

from arena_learning.store.store import Store, store_key
from arena_learning.store.work_queue import WorkShare, lease_work

KEYS = [store_key("game", {"n": n}) for n in range(64)]
CLAIMANT = """
import sys
from pathlib import Path
from arena_learning.store.store import Store, store_key
with Store(Path(sys.argv[1])) as store:
    store.lease([store_key("game", {"n": n}) for n in range(8)])
    print("leased", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def pair(tmp_path):
    with Store(tmp_path / "s.sqlite") as one, Store(tmp_path / "s.sqlite") as two:
        yield one, two


def pay(store, keys):
    store.put("game", {key: {"paid": True} for key in keys})


def test_what_one_has_claimed_is_not_the_others_to_pay(pair):
    one, two = pair
    assert one.lease(KEYS[:4]) == ({}, KEYS[:4], [])
    assert two.lease(KEYS[2:6]) == ({}, KEYS[4:6], KEYS[2:4])
    assert one.lease(KEYS[:6]) == ({}, KEYS[:4], KEYS[4:6])  # one's own leases stay one's own


def test_what_is_paid_is_known_to_the_other_before_and_after_its_claim_ends(pair):
    one, two = pair
    one.lease(KEYS[:2])
    pay(one, KEYS[:1])
    assert two.lease(KEYS[:2]) == ({KEYS[0]: {"paid": True}}, [], KEYS[1:2])
    one.release()
    assert two.lease(KEYS[:2]) == ({KEYS[0]: {"paid": True}}, KEYS[1:2], [])  # it was not scored: again


def test_a_whole_batch_is_claimed_as_it_stands_or_not_at_all(pair):
    one, two = pair
    pay(one, KEYS[:1])
    assert one.lease(KEYS[:3], whole=True) == ({}, KEYS[:3], [])
    assert two.lease(KEYS[1:4], whole=True) == ({}, [], KEYS[1:4])
    assert two.lease(KEYS[3:5], whole=True) == ({}, KEYS[3:5], [])
    pay(one, KEYS[:3])
    assert two.lease(KEYS[:3], whole=True)[1:] == ([], [])  # all known: nothing is asked again


def test_claims_end_with_a_store_and_with_a_killed_process(tmp_path):
    path = tmp_path / "s.sqlite"
    with Store(path) as store:
        with Store(path) as other:
            other.lease(KEYS[:4])
            assert store.lease(KEYS[:4]).theirs == KEYS[:4]
        assert store.lease(KEYS[:4]).mine == KEYS[:4]
        store.release()
        process = subprocess.Popen(
            [sys.executable, "-c", CLAIMANT, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdout.readline() == b"leased\n"
        assert store.lease(KEYS[:8]).theirs == KEYS[:8]
        process.kill()
        process.communicate(timeout=60)
        assert store.lease(KEYS[:8]).mine == KEYS[:8]


def test_a_fresh_store_pays_for_everything_and_claims_nothing(tmp_path):
    with Store(tmp_path / "s.sqlite") as store, Store(tmp_path / "s.sqlite", fresh=True) as fresh:
        pay(store, KEYS[:2])
        store.lease(KEYS[2:4])
        assert fresh.lease(KEYS[:6]) == ({}, KEYS[:6], [])
        assert store.lease(KEYS[4:6]).mine == KEYS[4:6]


def test_two_take_turns_and_each_key_is_paid_for_once(pair):
    bills, known = ([], []), (set(), set())
    held = [[], []]

    def settle(number):
        """What a process has asked for is answered: paid, and in the store."""
        pay(pair[number], held[number])
        bills[number].extend(held[number])
        held[number] = []

    def turn(number):
        settle(number)
        for share in runs[number]:
            known[number].update(share.mine, share.known)
            if share.mine:
                held[number] = share.mine
                return

    runs = [lease_work(store, KEYS, 2, waiting=lambda _, n=n: settle(1 - n)) for n, store in enumerate(pair)]
    for _ in range(len(KEYS)):
        turn(0)
        turn(1)
    assert sorted(bills[0] + bills[1]) == sorted(KEYS)
    assert known == (set(KEYS), set(KEYS))
    assert min(map(len, bills)) >= len(KEYS) // 4


def test_one_alone_asks_in_large_windows_and_smaller_ones_beside_another(pair):
    one, two = pair
    alone = [share.mine for share in lease_work(one, KEYS, 2)]
    assert list(map(len, alone)) == [8] * 8  # an eighth of all: who comes later finds work
    assert [share.mine for share in lease_work(None, KEYS, 2)] == alone
    two.lease(KEYS[:4])
    beside = lease_work(one, KEYS, 2)
    assert next(beside) == WorkShare(KEYS[4:8], {})  # what is left of the first window
    assert [len(next(beside).mine) for _ in range(5)] == [2] * 5


def test_claims_of_a_process_that_lives_and_does_nothing_are_taken_over(pair):
    one, two = pair
    two.lease(KEYS[:2])
    told = []
    paid = [share.mine for share in lease_work(one, KEYS[:4], 4, waiting=told.append, patience=0.05)]
    assert paid == [KEYS[2:4], KEYS[:2]]
    assert set(told) == {2}


def test_whole_batches_are_waited_for(pair):
    one, two = pair
    two.lease(KEYS[1:2])
    run = lease_work(one, KEYS[:4], 2, whole=True, waiting=lambda _: (pay(two, KEYS[1:2]), two.release()))
    # The first batch is another's in part: the second comes first, then the first as a whole.
    assert [share.mine for share in run] == [KEYS[2:4], KEYS[:2]]
