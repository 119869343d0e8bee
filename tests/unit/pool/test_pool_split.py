from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena_learning.core.errors import ArenaError
from arena_learning.params import parse_params
from arena_learning.pool.prepare import split_pool
from arena_learning.pool.split import draw, fill_in_order

OFF = {"min_chars": 0, "near_duplicate": 0, "contamination": 0}


@pytest.fixture(scope="session")
def make_pool(make_instruction):
    def make(**sizes):
        names = [(category, n) for category, size in sizes.items() for n in range(size)]
        return [make_instruction(f"{c}-{n}", f"Question {n} on {c}", category=c) for c, n in names]

    return make


def params_for(make_params, splits, validation=0, test=1, seed=0, split_by="draw", **filters):
    pool = {"splits": splits, "validation": validation, "test": test, "split_by": split_by}
    pool["filters"] = {**OFF, **filters}
    return parse_params(make_params(seed=seed, pool=pool), "params.yaml")


def test_each_category_gets_its_share_by_largest_remainders(make_pool):
    # 6 of 20: exact shares 3.0 of x (10), 1.8 of y (6), 1.2 of z (4); the one left over goes to y.
    drawn, rest = draw(make_pool(x=10, y=6, z=4), 6, 1, "test")
    assert Counter(i.category for i in drawn) == {"x": 3, "y": 2, "z": 1}
    assert Counter(i.category for i in rest) == {"x": 7, "y": 4, "z": 3}


def test_a_draw_depends_on_seed_and_purpose_but_not_on_the_order_of_the_file(make_pool):
    pool = make_pool(x=30, y=20)
    shuffled = random.Random(3).sample(pool, len(pool))
    assert draw(pool, 10, 1, "d1") == draw(shuffled, 10, 1, "d1")
    assert draw(pool, 10, 1, "d1")[0] != draw(pool, 10, 2, "d1")[0]
    assert draw(pool, 10, 1, "d1")[0] != draw(pool, 10, 1, "d2")[0]


@given(st.dictionaries(st.sampled_from("xyzuvw"), st.integers(0, 9)), st.integers(0, 60), st.integers())
def test_drawn_and_rest_are_the_whole_and_shares_are_exact_to_one(make_pool, sizes, count, seed):
    pool = make_pool(**sizes)
    drawn, rest = draw(pool, count, seed, "test")
    assert sorted(i.id for i in drawn + rest) == sorted(i.id for i in pool)
    assert len(drawn) == min(count, len(pool))
    counts = Counter(i.category for i in drawn)
    for category, size in sizes.items():
        assert abs(counts[category] - len(drawn) * size / max(len(pool), 1)) < 1


def test_splits_are_disjoint_and_independent_of_the_order_of_the_file(make_pool, make_params):
    params = params_for(make_params, {"d1": 5, "d2": 7}, validation=6, test=8)
    pool = make_pool(x=20, y=12)
    prepared = split_pool(pool, params)
    assert prepared.splits == split_pool(pool[::-1], params).splits
    ids = [i.id for rows in prepared.splits.values() for i in rows] + prepared.unused
    assert sorted(ids) == sorted(i.id for i in pool)
    assert {name: len(rows) for name, rows in prepared.splits.items() if rows} == {
        "test": 8,
        "validation": 6,
        "d1": 5,
        "d2": 7,
    }


def test_the_test_set_does_not_change_with_the_training_splits(make_pool, make_params):
    pool = make_pool(x=20, y=12)
    small, large = ({"d1": 2}, {"d1": 9, "d2": 9})
    one, two = (
        split_pool(pool, params_for(make_params, s, validation=4, test=8)).splits for s in (small, large)
    )
    assert (one["test"], one["validation"]) == (two["test"], two["validation"])


def test_too_small_a_pool_says_which_split_goes_short(make_pool, make_params):
    with pytest.raises(ArenaError, match="only 2 instructions left for 'd1', which needs 5"):
        split_pool(make_pool(x=10), params_for(make_params, {"d1": 5}, test=8))


@given(st.integers(1, 6), st.integers(0, 5), st.integers(0, 5), st.integers(0, 12))
def test_the_card_accounts_for_every_row(
    make_pool, make_instruction, make_params, test, validation, size, doubles
):
    pool = make_pool(x=20, y=5) + [
        make_instruction(f"twin-{n}", f"Question {n} on x") for n in range(doubles)
    ]
    prepared = split_pool(pool, params_for(make_params, {"d3": size}, validation, test))
    card = prepared.card()
    assert card["read"] == 25 + doubles
    assert card["read"] == sum(card["dropped"].values()) + sum(card["splits"].values()) + card["unused"]
    assert card["dropped"] == ({"exact duplicate": doubles} if doubles else {})
    assert sorted(d.id for d in prepared.dropped) == sorted(f"twin-{n}" for n in range(doubles))


@given(st.integers(20, 60), st.integers(0, 60), st.integers(0, 99), st.data())
def test_by_hash_rows_added_at_the_end_move_no_earlier_row(make_pool, make_params, old, new, seed, data):
    sizes = [data.draw(st.integers(1, old // 5)) for _ in range(4)]
    params = params_for(
        make_params, {"d1": sizes[0], "d4": sizes[1]}, sizes[2], sizes[3], seed, "hash", overlap=1.0
    )
    pool = make_pool(x=old + new)
    before, after = (split_pool(rows, params) for rows in (pool[:old], pool))
    assert before.splits == after.splits
    assert after.unused[: len(before.unused)] == before.unused
    assert [len(after.splits[name]) for name in ("d1", "d4", "validation", "test")] == sizes


def test_by_hash_an_added_duplicate_or_close_row_moves_none_either(make_pool, make_instruction, make_params):
    params = params_for(
        make_params, {"d1": 10, "d2": 10}, 5, 5, split_by="hash", near_duplicate=0.8, overlap=0.5
    )
    pool = make_pool(x=40)
    held = split_pool(pool, params).splits["test"][0]
    more = [make_instruction("twin", pool[3].text.upper()), make_instruction("close", f"Well, {held.text}")]
    assert split_pool(pool, params).splits == split_pool([*pool, *more], params).splits


def test_by_hash_the_held_out_rows_come_from_the_whole_pool_and_sizes_weigh(make_pool):
    # Of 400 rows for splits of 100 and 300, about a quarter of the first 200 goes to the small one.
    splits, rest = fill_in_order(make_pool(x=450), {"test": 100, "d1": 300}, 5)
    assert (len(splits["test"]), len(splits["d1"]), len(rest)) == (100, 300, 50)
    early = sum(int(i.id.partition("-")[2]) < 200 for i in splits["test"])
    assert 30 <= early <= 70  # 50 on average, with a standard deviation of 6
    assert fill_in_order(make_pool(x=450), {"test": 100, "d1": 300}, 6)[0] != splits


def test_benchmark_items_are_kept_out_of_every_split(make_pool, make_instruction, make_params):
    pool = make_pool(x=20)
    params = params_for(make_params, {"d1": 5}, 3, 4, overlap=1.0)
    prepared = split_pool(pool, params, benchmarks=[make_instruction("bench:1", pool[7].text)])
    (dropped,) = prepared.dropped
    assert (dropped.id, dropped.reason, dropped.like) == ("x-7", "overlap", "bench:1")
    assert "x-7" not in [i.id for rows in prepared.splits.values() for i in rows]
    (example,) = prepared.card()["examples"]["overlap"]
    assert example == {
        "id": "x-7",
        "note": "100 % of its 8-grams",
        "text": pool[7].text,
        "like": "bench:1",
        "like_text": pool[7].text,
    }
