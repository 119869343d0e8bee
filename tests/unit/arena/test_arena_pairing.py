from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena_learning.arena.pairing import pair_contestants

OPPONENTS = ["x", "m", "b"]


def test_all_play_all_in_alphabetical_pairs():
    # four players have 4 x 3 / 2 = 6 pairs
    assert pair_contestants(["i1"], "t", OPPONENTS, "all", 0) == [
        ("i1", "b", "m"),
        ("i1", "b", "t"),
        ("i1", "b", "x"),
        ("i1", "m", "t"),
        ("i1", "m", "x"),
        ("i1", "t", "x"),
    ]
    assert len(pair_contestants(["i2", "i1"], "t", OPPONENTS, "all", 0)) == 12


def test_the_target_alone_meets_each_opponent():
    assert pair_contestants(["i1"], "t", OPPONENTS, "target", 0) == [
        ("i1", "b", "t"),
        ("i1", "m", "t"),
        ("i1", "t", "x"),
    ]


def test_split_gives_each_instruction_one_opponent_in_about_equal_shares():
    ids = [f"i{n}" for n in range(900)]
    triples = pair_contestants(ids, "t", OPPONENTS, "split", 0)
    assert [t[0] for t in triples] == sorted(ids)
    shares = Counter(b if a == "t" else a for _, a, b in triples)
    # 300 each; 4 standard deviations are 4 x sqrt(900 x 1/3 x 2/3) = 57
    assert all(abs(shares[o] - 300) < 57 for o in OPPONENTS)
    assert triples != pair_contestants(ids, "t", OPPONENTS, "split", 1)


def test_without_a_target_the_opponents_play_all():
    assert pair_contestants(["i1"], None, OPPONENTS, "target", 0) == [
        ("i1", "b", "m"),
        ("i1", "b", "x"),
        ("i1", "m", "x"),
    ]


@pytest.mark.parametrize("mode", ["all", "target", "split"])
@given(st.permutations(["i1", "i2", "i3"]), st.permutations(OPPONENTS), st.integers())
def test_the_order_of_instructions_and_opponents_changes_nothing(mode, ids, opponents, seed):
    triples = pair_contestants(ids, "t", opponents, mode, seed)
    assert triples == pair_contestants(sorted(ids), "t", sorted(opponents), mode, seed)
    assert all(a < b for _, a, b in triples)
    assert len(set(triples)) == len(triples)
