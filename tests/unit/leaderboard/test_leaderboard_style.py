"""Style control on the leaderboard: what is measured, and what a board holds."""

import pytest

from arena_learning.leaderboard.ratings import judge_leaderboard
from arena_learning.leaderboard.schedule import battles_frame
from arena_learning.leaderboard.style import LEAST_INSTRUCTIONS, AnswerStyle, answer_style, with_styles
from arena_learning.params import Params
from arena_learning.rating import RatingParams, battles_from_frame, rate_with_style
from arena_learning.schema.rows import Battle


@pytest.mark.parametrize(
    ("text", "style"),
    [
        ("", AnswerStyle(0, 0, 0, 0)),
        ("One plain line, with 3 * 4 and a - b.", AnswerStyle(9, 0, 0, 0)),
        ("# A\n\n###### B\n#no header", AnswerStyle(4, 2, 0, 0)),
        ("- one\n* two\n  + three\n1. four\n12) five\n-six", AnswerStyle(8, 0, 5, 0)),
        ("**bold** and __bold__, *not*, ** not **", AnswerStyle(5, 0, 0, 3)),
        # Comments and bullets inside code are no Markdown; the words count all the same.
        ("See:\n```python\n# load\n- x\n```\n# End", AnswerStyle(5, 1, 0, 0)),
        ("~~~\n# cut off in the code", AnswerStyle(5, 0, 0, 0)),
    ],
)
def test_markdown_is_counted_outside_of_code(text, style):
    assert answer_style(text) == style


def battle(number, winner="a"):
    return Battle(instruction_id=f"i{number}", category="c", judge="j", a="x", b="y", winner=winner, games=2)


def test_a_style_counts_if_answers_differ_in_it_on_enough_instructions():
    frame = battles_frame([battle(n) for n in range(20)])
    styles = {(f"i{n}", name): AnswerStyle(5, 0, 0, 0) for n in range(20) for name in "xy"}
    for n in range(LEAST_INSTRUCTIONS):
        styles[f"i{n}", "x"] = AnswerStyle(9, 0, 0, 0)
    for n in range(LEAST_INSTRUCTIONS - 1):
        styles[f"i{n}", "y"] = AnswerStyle(5, 3, 0, 0)
    table = with_styles(frame, styles)
    assert [name for name in table if name.endswith("_a") and name != "model_a"] == ["length_a"]
    assert table.length_a.tolist() == [9] * LEAST_INSTRUCTIONS + [5] * (20 - LEAST_INSTRUCTIONS)


def test_no_styles_no_board():
    battles = [battle(n, "ab"[n % 2]) for n in range(20)]
    params = params_of_two()
    styles = {(f"i{n}", name): AnswerStyle(5, 0, 0, 0) for n in range(20) for name in "xy"}
    assert "style" not in judge_leaderboard(battles, params, "fixed", styles)
    styles = {key: AnswerStyle(5 + (key[1] == "x") * (2 + len(key[0])), 0, 0, 0) for key in styles}
    found = judge_leaderboard(battles, params, "fixed", styles)["style"]
    table = battles_from_frame(with_styles(battles_frame(battles), styles))
    same = rate_with_style(table, RatingParams(anchor=("y", 1000.0), cluster="prompt", bootstrap=100))
    assert [r["rating"] for r in found["ratings"]] == [r.rating for r in same.controlled.ratings]
    assert [r["lower"] for r in found["ratings"]] == [r.lower for r in same.controlled.ratings]


def params_of_two():
    return Params.model_validate(
        {
            "weights": {"source": "none"},
            "pool": {"splits": {"d1": 1}, "test": 1},
            "opponents": {name: {"engine": "recorded", "model": "e.jsonl"} for name in "xy"},
            "judges": {"rubric": {"kind": "rubric"}},
            "evaluate": {"anchor": "y", "bootstrap": 100},
            "rounds": {},
        }
    )
