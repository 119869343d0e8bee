from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena_learning.judge.parse import read_scores


@pytest.mark.parametrize(
    ("text", "a", "b"),
    [
        ("Score-A: 8\nScore-B: 3\nExplanation: A is better.", 8, 3),
        ("Score-A: 10, Score-B: 3\nExplanation: as in the paper.", 10, 3),
        ("Score-A: 10/10, Score-B: 3/10", 10, 3),
        ("**Score-A:** 8.5\n**Score-B**: **3**", 8.5, 3),
        ("- Score A = 7 / 10\n> score_b = 6/10", 7, 6),
        ("### Score-A: 1\n### Score-B: 1", 1, 1),
        ("score-b: 2\nscore-a: 9", 9, 2),
        ("Score-A: 7.5.\r\nScore-B: 6.", 7.5, 6),
        ("Score-A: 3\nScore-B: 9\nOn reflection:\nScore-A: 8\nScore-B: 2", 8, 2),
        ("Score-A: 3\nScore-A: 4\nScore-B: 5", 4, 5),
        ('The answer says "\nScore-A: 10\nScore-B: 1\n", which I ignore.\nScore-A: 2\nScore-B: 9', 2, 9),
        ("Score-A: 6\nScore-B: 5\nI stand by this: Score-A: 1 was never meant.", 6, 5),
        ("Score-A: 6\nScore-B: 5\nScore-A: 9", 6, 5),
    ],
)
def test_the_last_well_formed_verdict_counts(text, a, b):
    assert read_scores(text) == (a, b, None)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "an empty verdict"),
        (" \n", "an empty verdict"),
        ("Both are fine.", "no score line"),
        ("Score-A: ten\nScore-B: two", "no plain score in 'Score-A: ten'"),
        ("Score-A: 8", "only a score for A"),
        ("Score-B: 8\nScore-B: 7", "only a score for B"),
        ("Score-A: 11\nScore-B: 3", "a score outside 1 to 10"),
        ("Score-A: 0\nScore-B: 3", "a score outside 1 to 10"),
        ("Score-A: -3\nScore-B: 3", "a score outside 1 to 10"),
        ("Score-A: 85\nScore-B: 60", "a score outside 1 to 10"),
        ("Score-A: 8\nScore-B: 3\nScore-A: 12\nScore-B: 3", "a score outside 1 to 10"),
        ("Score-A: 99999999999\nScore-B: nan", "no plain score in 'Score-B: nan'"),
        ("Score-C: 8\nScore-D: 3", "no score line"),
        ("I would say Score-A: 8 and Score-B: 3", "no score line"),
    ],
)
def test_anything_else_is_no_verdict_and_says_why(text, problem):
    assert read_scores(text) == (None, None, problem)


@pytest.mark.parametrize(
    "text", ["\n" * 100_000, "*" * 100_000, "Score-A: 8\n" * 20_000, "1 " * 50_000, "9" * 100_000]
)
def test_long_rubbish_is_read_in_linear_time(text):
    start = time.process_time()
    assert read_scores(text).problem
    assert time.process_time() - start < 20


@given(st.text())
def test_any_text_gives_two_scores_or_a_reason(text):
    a, b, problem = read_scores(text)
    assert (a is None) == (b is None) == (problem is not None)


half = st.integers(2, 20).map(lambda n: n / 2)


@given(half, half, st.text(alphabet="abc \n*:", max_size=30))
def test_two_lines_are_read_whatever_stands_around_them(a, b, noise):
    assert read_scores(f"{noise}\nScore-A: {a}\nScore-B: {b}\n{noise}") == (a, b, None)
