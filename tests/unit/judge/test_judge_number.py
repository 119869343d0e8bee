"""What a reader takes for a score, and what nobody could."""

from __future__ import annotations

import pytest

from arena_learning.judge.number import is_changed, plain_number, read_value
from arena_learning.judge.parse import read_json_scores, read_scores

# fmt: off
SCORES = {
    # a number, with a point or a comma
    "1": 1, "10": 10, "8.5": 8.5, "8.50": 8.5, "8,5": 8.5, "8,0": 8, "8.": 8, "8;": 8, "8)": 8, "8!": 8, "8\r": 8,
    # out of ten
    "8/10": 8, "8.5/10": 8.5, "8 / 10": 8, "8/10.": 8, "8/10.0": 8, "8 out of 10": 8, "8 out of ten": 8, "8 of 10": 8,
    "8 (out of 10)": 8, "8 points": 8, "8 points out of 10": 8, "8/10 points": 8, "8pts": 8, "8 stars": 8,
    "8 on a scale of 1 to 10": 8, "8 (on a scale of 1 to 10)": 8, "8 (1-10)": 8,
    # emphasis, quotes, brackets, and what ends a turn
    "**8**": 8, "**8**/10": 8, "**8/10**": 8, "*8*": 8, "`8`": 8, '"8"': 8, "[8]": 8, "(8)": 8, "<8>": 8,
    "8</s>": 8, "8<|im_end|>": 8,
    # other scripts
    "８": 8, "８／１０": 8, "８．５": 8.5, "٨": 8, "८": 8, "8分": 8, "8 分（满分10分）": 8,
    # a comment
    "8 (good)": 8, "8 [good]": 8, "8 - clear and right": 8, "8 — clear": 8, "8—clear": 8, "8: good": 8, "8 = good": 8,
    "8, because it is clear": 8, "8, because 2 facts are right": 8, "8 because it names 2 rivers": 8,
    "8 - clear, 3 good points": 8, "8. 2 facts are right.": 8, "8, but 2 facts are wrong": 8, "8 (7 at first)": 8, "8 (changed from 7)": 8, "8 - could name 2 more rivers": 8, "8 (would be clearer in 2 parts)": 8,
    "8, corrected for 3 slips": 8,
    "8 → very good": 8, "8 *very good*": 8, "8 | good": 8, "8 ✅": 8, "8 to be fair": 8, "8/10 (very good)": 8,
}
NO_SCORES = (
    # a range, or one of several
    "7-8", "7 - 8", "7–8", "7 – 8", "8〜9", "7…8", "7 to 8", "7 or 8", "between 7 and 8", "8 and 7", "8, or 7", "8 vs 7",
    "8, 7", "8; 7", "8 7", "1 0", "1 to 10?", "8 (4/5)",
    # another scale
    "4/5", "8/100", "８／１００", "8 / 9", "8/10/10", "8 out of 20", "8 of 20", "8 von 20", "8 points out of 20", "8 (/20)",
    "10%", "8 %", "8 percent", "8 thousand", "8k", "1e1", "0x8", "1,000", "8,500",
    # a sum, a correction, a fraction
    "10 - 3 = 7", "8 - 1", "8/10 - 1", "8 minus 1", "8 x 2", "8*2", "8 * 2", "8 × 2", "8²", "8^2", "8 (-1)", "10 = 10",
    "8 → 6", "8=>6", "8 -> 6", "8 reduced to 6", "8, maybe 9", "8, no, 7", "7½", "8 half", "8 and a half", "8 point five",
    "8 point 5", "8. 5",
    "8 (revised to 6)", "8, revised to 6", "8 [revised: 6]", "8 - corrected to 6", "8. Wait, 7.", "8. Hmm, 6.", "8 (could be 7)",
    "8 - make it 7", "7.5.1", "7,5,1", "8:30",
    # a doubt, or more or less than that
    "~7", "about 7", "8?", "8 ?", "8+", "8 plus", "8 ± 1", "8±1", "≥8", "<8", "8 or so", "8-ish", "8ish", "8 at most",
    # no number
    "seven", "ten", "N/A", "nan", "-", "", "8x", "8th", "$8", "+8", "⑧", "99999999999",
)
# fmt: on


@pytest.mark.parametrize(("written", "score"), SCORES.items())
def test_what_a_reader_takes_for_a_score_is_one(written, score):
    assert read_scores(f"Score-A: {written}\nScore-B: 7\nExplanation: 2 of 3.") == (score, 7, None)
    assert read_scores(f"Reasons.\n**Score-A:** 3\n**Score-B:** {written}") == (3, score, None)


@pytest.mark.parametrize("written", NO_SCORES)
def test_what_something_changes_is_no_verdict_and_the_reason_quotes_it(written):
    for text in (
        f"Score-A: {written}\nScore-B: 7",
        f"Score-A: 7, Score-B: {written}",
        f"Score-A: {written}, Score-B: 7",
    ):
        a, b, problem = read_scores(text)
        assert (a, b) == (None, None)
        assert problem.startswith("no plain score in 'Score-")
        assert written in problem


@pytest.mark.parametrize(
    ("text", "a", "b"),
    [
        ("Score-A: 10, Score-B: 3", 10, 3),
        ("Score-A: 8,5, Score-B: 7", 8.5, 7),
        ("Score-A: 8, Score-B: 7,5", 8, 7.5),
        ("Score-A: 8,5 Score-B: 7,5", 8.5, 7.5),
        ("Score-A: 8,Score-B: 7", 8, 7),
        ("Score-A: 8 Score-B: 7", 8, 7),
        ("Score-A: 8; Score-B: 7.", 8, 7),
        ("Score-A: 8/10 and Score-B: 7/10", 8, 7),
        ("**Score-A: 8**, **Score-B: 7**", 8, 7),
        ("| Score-A: 8 | Score-B: 7 |", 8, 7),
        ("Score-A: 8 (good), Score-B: 7 (fair)", 8, 7),
        ("Score-A: 8 - clear, Score-B: 7 - 2 facts are wrong", None, None),
        ("Score-A: 8 - clear, Score-B: 7 - less so", 8, 7),
    ],
)
def test_both_scores_may_stand_on_one_line(text, a, b):
    assert read_scores(text)[:2] == (a, b)


def test_a_placeholder_before_and_an_explanation_behind_are_no_scores():
    verdict = "Score-A: 8\nScore-B: 7"
    for text in (
        f"Score-A: <number>\nScore-B: <number>\n{verdict}",
        f"{verdict}\nScore-A: it is clear\nScore-B: wordy",
    ):
        assert read_scores(text) == (8, 7, None)


def test_a_verdict_that_is_taken_back_for_an_unclear_one_is_none():
    assert (
        read_scores("Score-A: 8\nScore-B: 3\nNo.\nScore-A: 7-8\nScore-B: 3").problem
        == "no plain score in 'Score-A: 7-8'"
    )


def test_a_long_line_is_quoted_shortly():
    problem = read_scores(
        "Score-A: 7 or 8, who knows, for this one has so many faults and virtues\nScore-B: 7"
    ).problem
    assert problem == "no plain score in 'Score-A: 7 or 8, who knows, for this one...'"


@pytest.mark.parametrize("score", ['"8"', '"7-8"', "true", "null", "[8]"])
def test_a_score_in_json_is_a_number_and_the_reason_quotes_what_is_none(score):
    problem = read_json_scores(f'{{"Score-A": {score}, "Score-B": 4}}').problem
    assert problem == f"a score that is no number: '{score}'"


def test_a_text_made_plain_keeps_its_length():
    text = "Score-A：８．５／１０ – gut ☀\u3000（好）"
    assert len(plain_number(text)) == len(text)
    assert plain_number(text).startswith("Score-A:8.5/10 - gut")


def test_a_number_ends_with_its_scale_and_its_emphasis():
    line = "**8**/10, clear"
    value = read_value(line, 2)
    assert (value.score, line[value.start], line[value.end :]) == (8, "8", ", clear")
    assert not is_changed(line[value.end :])
