from __future__ import annotations

import json

import pytest

from arena_learning.core.errors import ArenaError
from arena_learning.pool.instructions import read_pool
from arena_learning.pool.read import read_answers, with_references

ROW = {"id": "a", "turns": [{"role": "user", "content": "Name a river."}]}


def write(path, *rows):
    path.write_text(
        "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows), encoding="utf-8"
    )
    return path


def refusal(path) -> ArenaError:
    with pytest.raises(ArenaError) as caught:
        read_pool(path)
    return caught.value


def test_rows_keep_their_order_and_blank_lines_are_passed_over(tmp_path):
    path = write(tmp_path / "pool.jsonl", {**ROW, "id": "b"}, "", ROW)
    assert [i.id for i in read_pool(path)] == ["b", "a"]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("{not json", "not JSON"),
        ({**ROW, "turns": []}, "at least 1"),
        ({**ROW, "turns": [{"role": "user", "content": " "}]}, "turn 1 is empty"),
        ({**ROW, "turns": [{"role": "assistant", "content": "x"}]}, "must be the user's"),
        ({**ROW, "categry": "x"}, "categry"),
        ({"turns": ROW["turns"]}, "id"),
    ],
)
def test_a_malformed_row_is_named_by_file_and_line(tmp_path, row, problem):
    error = refusal(write(tmp_path / "pool.jsonl", {**ROW, "id": "b"}, "", row))
    assert problem in str(error)
    assert error.where.endswith("pool.jsonl, line 3")


def test_an_id_used_twice_names_both_lines(tmp_path):
    error = refusal(write(tmp_path / "pool.jsonl", ROW, "", ROW))
    assert "'a' is already used in line 1" in str(error)
    assert error.where.endswith("line 3")


def test_a_bad_rubric_point_is_named_by_its_place(tmp_path):
    good, bad = {"kind": "length", "min": 1, "weight": 1}, {"kind": "lenght", "weight": 1}
    error = refusal(write(tmp_path / "pool.jsonl", {**ROW, "rubric": [good, bad]}))
    assert error.where.endswith("pool.jsonl, line 1, rubric criterion 2")
    assert "did you mean 'length'" in error.hint


def test_an_empty_pool_is_refused(tmp_path):
    assert "no instructions" in str(refusal(write(tmp_path / "pool.jsonl", "")))


def test_an_instruction_answered_twice_is_named(tmp_path):
    path = write(tmp_path / "x.jsonl", {"id": "a", "text": "1"}, {"id": "a", "text": "2"})
    with pytest.raises(ArenaError, match="answered twice") as caught:
        read_answers(path)
    assert caught.value.where.endswith("line 2")


def test_other_keys_may_stand_beside_a_recorded_answer(tmp_path):
    assert read_answers(write(tmp_path / "x.jsonl", {"id": "a", "text": "1", "model": "m"})) == {"a": "1"}


def test_a_reference_of_its_own_is_kept(make_instruction):
    pool = [make_instruction("a"), make_instruction("b", reference="own"), make_instruction("c")]
    joined = with_references(pool, {"a": "given", "b": "given"})
    assert [i.reference for i in joined] == ["given", "own", None]


def test_the_shipped_pool_is_valid_and_answered_by_its_opponents():
    from pathlib import Path

    data = Path(__file__).parents[3] / "data"
    ids = {i.id for i in read_pool(data / "pool.jsonl")}
    for opponent in ("expert", "plain"):
        answers = read_answers(data / "opponents" / f"{opponent}.jsonl")
        assert set(answers) == ids
        assert all(text.strip() for text in answers.values())
