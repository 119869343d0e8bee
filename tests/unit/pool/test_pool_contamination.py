"""Closeness to held-out items: by word n-grams, and by vectors in blocks as by all at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena_learning.pool.contamination import drop_overlapping, nearest_rows

ITEM = "A farmer has seventeen sheep and all but nine of them run away so how many are left in there"
CHAT = "Hello there I was reading a puzzle book on the train this morning and I got stuck on this one"


def overlapping(make_instruction, text, share=0.5, size=8, item=ITEM):
    pool = [make_instruction("row", text)]
    kept, dropped = drop_overlapping(
        pool, [make_instruction("other", "Name a bird."), make_instruction("item", item)], share, size
    )
    assert len(kept) + len(dropped) == 1
    return dropped


def test_an_item_inside_of_a_longer_text_is_found_without_case_and_punctuation(make_instruction):
    (dropped,) = overlapping(make_instruction, f"{CHAT}: '{ITEM.upper()}?' {CHAT}", share=1.0)
    assert (dropped.reason, dropped.like, dropped.note) == ("overlap", "item", "100 % of its 8-grams")


def test_the_share_is_of_the_items_own_grams(make_instruction):
    # The item has 20 words, so 13 8-grams. Its first 14 words hold 7 of them: 54 %.
    first = " ".join(ITEM.split()[:14])
    assert overlapping(make_instruction, f"{first} {CHAT}", share=7 / 13)[0].note == "54 % of its 8-grams"
    assert not overlapping(make_instruction, f"{first} {CHAT}", share=0.55)


def test_a_changed_word_takes_with_it_the_grams_that_hold_it(make_instruction):
    # Word 10 of 20 is in the 8-grams that begin at words 3 to 10: 8 of 13 are lost, 5 are left (38 %).
    said = ITEM.split()
    said[9] = "ten"
    assert overlapping(make_instruction, " ".join(said), share=0.38)
    assert not overlapping(make_instruction, " ".join(said), share=0.39)


def test_a_short_item_is_found_only_as_a_whole(make_instruction):
    assert overlapping(make_instruction, "name a BIRD", size=8)[0].like == "other"
    assert not overlapping(make_instruction, "Please name a bird.", size=8)


def test_switched_off_it_keeps_all(make_instruction):
    assert not overlapping(make_instruction, ITEM, share=0)


@given(st.integers(1, 40), st.integers(1, 6), st.integers(0, 9), st.integers(1, 50), st.integers(0, 99))
def test_blocks_give_what_one_matrix_product_gives(rows, items, count, block, seed):
    # Few distinct vectors, so that ties occur.
    drawn = np.random.default_rng(seed)
    few = drawn.normal(size=(5, 4)).astype(np.float32)
    ours, theirs = few[drawn.integers(0, 5, rows)], few[drawn.integers(0, 5, items)]
    found = nearest_rows(lambda: (ours[n : n + block] for n in range(0, rows, block)), theirs, count)
    # Rows are rounded, because a product's last bits depend on its block.
    whole = ours @ theirs.T
    assert found.best == pytest.approx(whole.max(axis=1), abs=1e-6)
    for item in range(items):
        expected = np.argsort(-np.round(whole[:, item], 5), kind="stable")[:count]
        assert np.round([cosine for _, cosine in found.nearest[item]], 5) == pytest.approx(
            np.round(whole[expected, item], 5), abs=1e-4
        )
        assert len({row for row, _ in found.nearest[item]}) == min(count, rows)
