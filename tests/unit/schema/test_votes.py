from __future__ import annotations

import math

import pytest

from arena_learning.schema.votes import is_missing, one_hot_columns, read_winner


@pytest.mark.parametrize(
    ("said", "winner"),
    [
        (
            "model_a A a left Left model-a MODEL_A response_a assistant_a [[A]] (a) model_1 first answer_A",
            "model_a",
        ),
        ("model_b B b right modelB response_b [[B]] model_2 second output_b", "model_b"),
        ("tie Tie TIE both_bad bothbad tie(bothbad) both-bad draw tie_both_bad", "tie"),
    ],
)
def test_the_spellings_of_public_files(said, winner):
    assert {word: read_winner(word) for word in said.split()} == dict.fromkeys(said.split(), winner)


@pytest.mark.parametrize("said", ["tie (bothbad)", "tie (both bad)", " Tie ", "Tie (Both Bad)\n", "both bad"])
def test_spaces_do_not_count(said):
    assert read_winner(said) == "tie"


@pytest.mark.parametrize(
    "said",
    ["", "c", "[[C]]", "1", "2", "0", "model_c", "a b", "A>B", "gpt-4", "parse_error", 1, True, None, ["a"]],
)
def test_what_is_no_spelling_is_none(said):
    assert read_winner(said) is None


def test_what_says_that_nothing_is_given():
    assert all(map(is_missing, [None, math.nan, "", " ", "nan", "NaN", "null", "None", "N/A", "<NA>"]))
    assert not any(map(is_missing, ["tie", "0", 0, 0.0, False, [], "nano"]))


def test_one_hot_columns_need_both_models():
    assert one_hot_columns(["winner_model_a", "winner_tie", "winner_model_b"]) == [
        "winner_model_a",
        "winner_model_b",
        "winner_tie",
    ]
    assert one_hot_columns(["winner_model_a", "winner_tie"]) == []
