"""Near duplicates by sketches and bands against all pairs' exact similarity."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena_learning.pool import near_duplicates
from arena_learning.pool.grams import GramHasher
from arena_learning.pool.near_duplicates import NearDuplicates


def grams(text):
    said = text.split()
    return {tuple(said[n : n + 3]) for n in range(max(len(said) - 2, 1))}


def jaccard(one, two):
    a, b = grams(one), grams(two)
    return len(a & b) / len(a | b)


def planted(seed, count=150):
    """Texts of 30 to 60 words, half of them copies with new last words."""
    rng = random.Random(seed)
    texts = []
    for number in range(count):
        if texts and rng.random() < 0.5:
            said = rng.choice(texts).split()
            new = rng.randrange(len(said) // 2)
            texts.append(" ".join(said[: len(said) - new] + [f"n{number}x{n}" for n in range(new)]))
        else:
            texts.append(" ".join(f"w{rng.randrange(400)}" for _ in range(rng.randrange(30, 60))))
    return texts


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.9])
def test_what_is_found_is_near_and_what_is_near_is_found(threshold):
    near = missed = 0
    for seed in range(8):
        texts = planted(seed)
        found = NearDuplicates(texts, len(texts), threshold)
        for number, text in enumerate(texts):
            exact = {n for n in range(number) if jaccard(texts[n], text) >= threshold}
            twin = found.find(number)
            assert twin is None or twin[0] in exact
            assert twin is None or twin[1] == pytest.approx(jaccard(texts[twin[0]], text))
            near += bool(exact)
            missed += bool(exact) and twin is None
            found.keep(number)
    assert near > 50
    assert missed <= 0.01 * near


def test_only_kept_texts_are_compared():
    texts = ["one two three four five six seven eight"] * 3
    found = NearDuplicates(texts, 3, 0.8)
    assert found.find(1) is None
    found.keep(1)
    assert found.find(2) == (1, 1.0)


def test_a_large_family_just_below_the_threshold_stays_bounded(monkeypatch):
    monkeypatch.setattr(near_duplicates, "_FAMILY", 10)
    monkeypatch.setattr(near_duplicates, "_CHECKED", 3)
    start = " ".join(f"w{n}" for n in range(40))
    # Each shares 38 of its 48 3-grams with any other: 38 / 58 = 0.66.
    texts = [f"{start} {' '.join(f't{m}x{n}' for n in range(10))}" for m in range(60)]
    found = NearDuplicates(texts, len(texts), 0.7)
    for number in range(len(texts)):
        assert found.find(number) is None
        found.keep(number)
    assert max(map(len, found._kept.values())) == 10


@given(st.lists(st.sampled_from("abc"), max_size=12), st.integers(1, 4))
def test_equal_grams_and_no_others_have_equal_hashes(words, size):
    hasher = GramHasher(size)
    own = (
        {tuple(words[n : n + size]) for n in range(len(words) - size + 1)}
        if len(words) >= size
        else {tuple(words)}
    )
    assert len(hasher.hashes(words)) == (len(own) if words else 0)
    assert (hasher.hashes(words) == GramHasher(size).hashes(words)).all()


def test_no_texts_are_no_duplicates():
    assert NearDuplicates([], 0, 0.8)._groups.shape[0] == 0
