from __future__ import annotations

import contextlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena_learning.core.errors import ArenaError
from arena_learning.core.text import sentences, words
from arena_learning.schema.rubric import FORMATS, check_criterion, find_numbers, find_phrase, parse_criterion


def met(text, **raw) -> float:
    return check_criterion(parse_criterion({"weight": 1, **raw}, "here"), text).met


@pytest.mark.parametrize(
    ("phrase", "text", "found"),
    [
        ("thursday", "On THURSDAY, at six.", True),
        ("thursday", "on thursdays", False),
        ("apolog*", "My apologies!", True),
        ("apolog*", "an apology", True),
        ("apolog*", "unapologetic", False),
        ("photo* of cat*", "photographs of cats", True),
        ("don't", "I don’t know", True),
        ("could you", "could\nyou", True),
        ("1200", "1,200 people", True),
        ("café", "CAFÉ", True),
        ("can_edit", "can_edit = True", True),
        ("3.5", "version 3.5", True),
        ("3.5", "35", False),
        ("c++", "in C++ it is", True),
        ("a.b(c)*", "abc", False),
        ("dónde está", "¿Dónde está la estación?", True),
    ],
)
def test_a_phrase_is_found_as_whole_words_whatever_case_and_punctuation(phrase, text, found):
    assert (find_phrase((phrase,), text) is not None) == found


def test_stating_and_avoiding_are_opposites():
    assert met("It is Paris.", kind="states", any=["rome", "paris"]) == 1
    assert met("It is Oslo.", kind="states", any=["rome", "paris"]) == 0
    assert met("It is Paris.", kind="avoids", any=["rome", "paris"]) == 0
    assert met("It is Oslo.", kind="avoids", any=["rome", "paris"]) == 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("42", 42),
        ("It is 1,250,000 now", 1_250_000),
        ("12 345 people", 12_345),
        ("12\u00a0345 people", 12_345),
        ("about 3.75%", 3.75),
        ("€1,250.50", 1250.5),
        ("minus −7 degrees", -7),
        ("-7", -7),
        ("twenty-one", 21),
        ("Ninety nine", 99),
        ("seventeen", 17),
        ("thirty", 30),
        ("roots: 3, 4, 5", 4),
        ("3 4 5", 5),
        ("100 200 300", 200),
        ("in 2020 12 came", 2020),
        ("(a) 2+3=5.", 5),
        ("3-4", 4),
        ("5kg", 5),
    ],
)
def test_a_number_is_read_as_written(text, value):
    assert value in find_numbers(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3, 4", 34),
        ("in 2020 12 came", 202012),
        ("21st", 1),
        ("3-4", -4),
        ("1,25", 125),
        ("x2", 2),
        ("1.5", 5),
    ],
)
def test_no_number_is_read_that_is_not_there(text, value):
    assert value not in find_numbers(text)


def test_a_number_point_has_a_tolerance_with_its_edges_in():
    assert met("0.3", kind="number", value=0.2, tolerance=0.1) == 1
    assert met("0.31", kind="number", value=0.2, tolerance=0.1) == 0
    assert met("about 0.2", kind="number", value=0.2) == 1


@pytest.mark.parametrize(
    ("count", "share"),
    [(10, 1), (20, 1), (9, 0.8), (5, 0), (4, 0), (30, 0.5), (40, 0), (50, 0)],
)
def test_a_length_outside_its_bounds_loses_linearly(count, share):
    # 10 to 20 words. Below: 2 x count / 10 - 1, so 9 words give 0.8. Above: 2 - count / 20, so 30 give 0.5.
    assert met("word " * count, kind="length", min=10, max=20) == pytest.approx(share)


def test_a_bound_of_zero_allows_nothing_more():
    assert met("", kind="length", max=0) == 1
    assert met("one", kind="length", max=0) == 0


@pytest.mark.parametrize(
    ("form", "text", "count"),
    [
        ("bullets", "- a\n* b\n• c\n  – d", 4),
        ("bullets", "-a\n-- b\n-\n- \nx - y", 0),
        ("numbered", "1. a\n2) b\n(3) c\n**4.** d\n10: e", 5),
        ("numbered", "1.\n2024. a\none. b", 0),
        ("lines", "a\n\n b \n\t\nc", 3),
        ("sentences", "One. Two! Three?\nFour", 4),
        ("sentences", "He said “Stop.” Then he left... ok", 3),
        ("sentences", "3.5 is a number. ---", 1),
        ("paragraphs", "a\nb\n\nc\n \n\nd", 3),
    ],
)
def test_forms_are_counted(form, text, count):
    assert met(text, kind="format", form=form, min=count, max=count) == 1
    assert met(text, kind="format", form=form, min=count + 1, max=count + 1) < 1


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ('{"a": 1, "b": 2}', 1),
        ('Here it is:\n```json\n{"a": 1, "b": null}\n```\nDone.', 1),
        ('[{"a": 1, "b": 2}, {"a": 3, "b": 4}]', 1),
        ('[{"a": 1, "b": 2}, {"a": 3}]', 0),
        ('{"a": 1}', 0),
        ('{"a": 1, "b": ', 0),
        ("a and b", 0),
        ("[]", 0),
    ],
)
def test_json_must_parse_and_have_its_keys(text, share):
    assert met(text, kind="format", form="json", keys=["a", "b"]) == share


def test_a_table_has_a_head_a_rule_and_a_row():
    assert met("| a | b |\n|---|---|\n| 1 | 2 |", kind="format", form="table") == 1
    assert met("| a | b |\n| 1 | 2 |", kind="format", form="table") == 0


def test_code_is_a_fence_or_a_line_with_its_marks():
    assert met("```\nx\n```", kind="format", form="code") == 1
    assert met("x = f(1)", kind="format", form="code") == 1
    assert met("SELECT name FROM t;", kind="format", form="code") == 1
    assert met("git log --oneline", kind="format", form="code") == 1
    assert met("Note: words (and more words) -- just words", kind="format", form="code") == 0


def test_words_keep_their_apostrophes_and_lose_their_underscores():
    assert words("Don’t snake_case it's 3 x") == ["don't", "snake", "case", "it's", "3", "x"]


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        ([], "must be an object"),
        ({}, "unknown rubric criterion kind None"),
        ({"kind": []}, "unknown rubric criterion kind"),
        ({"kind": "stats"}, "did you mean 'states'"),
        ({"kind": "states", "any": ["x"]}, "'weight' is missing"),
        ({"kind": "states", "any": ["x"], "weight": 0}, "outside 0 to 10"),
        ({"kind": "states", "any": ["x"], "weight": float("nan")}, "outside 0 to 10"),
        ({"kind": "states", "any": ["x"], "weight": 10**400}, "too large"),
        ({"kind": "states", "any": "x", "weight": 1}, "list of non-empty strings"),
        ({"kind": "states", "any": [], "weight": 1}, "at least one phrase"),
        ({"kind": "states", "any": ["..."], "weight": 1}, "no word in the phrase '...'"),
        ({"kind": "states", "any": ["*"], "weight": 1}, "no word in the phrase"),
        ({"kind": "states", "any": ["x"], "weight": 1, "min": 2}, "unknown field 'min'"),
        ({"kind": "number", "weight": 1}, "'value' is missing"),
        ({"kind": "number", "value": float("nan"), "weight": 1}, "is not a finite number"),
        ({"kind": "number", "value": 1, "tolerance": -1, "weight": 1}, "tolerance"),
        ({"kind": "length", "weight": 1}, "'min' or 'max' is missing"),
        ({"kind": "length", "min": 9, "max": 3, "weight": 1}, "min 9 is above max 3"),
        ({"kind": "length", "min": -1, "weight": 1}, "at least 0"),
        ({"kind": "length", "min": True, "weight": 1}, "whole number"),
        ({"kind": "format", "form": "bulets", "weight": 1}, "did you mean 'bullets'"),
        ({"kind": "semantic", "text": " ", "weight": 1}, "'text' is empty"),
    ],
)
def test_a_bad_point_is_refused_with_its_place(raw, problem):
    with pytest.raises(ArenaError) as caught:
        parse_criterion(raw, "pool.jsonl, line 3")
    assert problem in str(caught.value)
    assert caught.value.where == "pool.jsonl, line 3"


SIZE = 100_000
HOSTILE = {
    "new lines": "\n" * SIZE,
    "spaces": " " * SIZE + "x",
    "space and lines": " \n" * (SIZE // 2),
    "bars": "|" * SIZE,
    "bars and spaces": "| " * (SIZE // 2) + "x",
    "digits": "1" * SIZE,
    "groups": "111," * (SIZE // 4) + "1111",
    "groups by spaces": "111 " * (SIZE // 4),
    "dots": "." * SIZE,
    "decimals": "1." * (SIZE // 2),
    "quotes": '."' * (SIZE // 2),
    "apostrophes": "a'" * (SIZE // 2),
    "dashes": "- " * (SIZE // 2),
    "dashes in lines": "-\n" * (SIZE // 2),
    "open fence": "```" + "\n" * SIZE,
    "fences": "```\n" * (SIZE // 4),
    "brackets": "[" * SIZE,
    "objects": '{"a":' * (SIZE // 5),
    "parentheses": "(" * SIZE,
    "one word": "a" * SIZE,
    "marks": "*_" * (SIZE // 2),
    "ligatures": "\ufdfa" * (SIZE // 20),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_checked_in_linear_time(text):
    start = time.process_time()
    points = [
        {"kind": "states", "any": ["a* b* c*", "x", "1111"]},
        {"kind": "number", "value": 1},
        {"kind": "length", "min": 1},
        *({"kind": "format", "form": form, "min": 1} for form in FORMATS),
    ]
    for raw in points:
        assert 0 <= met(text, **raw) <= 1
    sentences(text)
    # A quadratic pattern needs minutes for 100 kB; a second or two is plenty on a slow machine.
    assert time.process_time() - start < 20


@given(st.text(alphabet=st.sampled_from("ab1.,-|*`\n \t'\"(){}[]:=#_é\u00a0“−"), max_size=60))
def test_any_text_can_be_checked(text):
    for form in FORMATS:
        assert 0 <= met(text, kind="format", form=form, min=1, max=2) <= 1
    assert all(isinstance(n, float) for n in find_numbers(text))
    assert find_phrase((text, "a*"), text) in (text, "a*", None)


@given(st.integers(0, 10**12))
def test_any_number_is_found_with_and_without_thousands_marks(number):
    assert number in find_numbers(f"It is {number}.")
    assert number in find_numbers(f"It is {number:,}!")


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5), lambda s: st.lists(s, max_size=3)
    )
)
def test_a_point_of_any_json_is_read_or_refused_but_never_crashes(value):
    for kind in ("states", "number", "length", "format", "semantic", value):
        raw = {
            "kind": kind,
            "weight": 1,
            "any": value,
            "value": value,
            "min": value,
            "form": value,
            "text": value,
        }
        for field in (*raw, "tolerance", "max", "keys"):
            allowed = {"kind": kind, "weight": 1, field: value}
            with contextlib.suppress(ArenaError):
                parse_criterion(json.loads(json.dumps(allowed)), "here")
