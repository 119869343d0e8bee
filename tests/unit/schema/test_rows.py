from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from arena_learning.core.errors import ArenaError
from arena_learning.core.json_files import canonical, read_json, write_json, write_text
from arena_learning.schema.row_files import read_rows, write_rows
from arena_learning.schema.rows import Battle, Game, Instruction, Response, Turn

HARD_TEXTS = {
    "emoji": "👩‍👩‍👧‍👦 🇺🇦 e\u0301",
    "right to left": "\u202eמה שלומך\u202c مرحبا",
    "100 kB": "long " * 20_000,
    "braces": "{} {0} {name} {{}} }{",
    "jinja": "{{ 7 * 7 }} {% for x in y %} {# #}",
    "control characters": "\x00\x01\x1b[31m\r\n\t\x7f\x85\u2028\u2029",
    "quotes": "\"'\\ \\n </script>",
}


def test_equal_content_gives_equal_bytes_whatever_the_order_of_its_keys():
    assert canonical({"b": 1, "a": [2.5, None]}) == canonical({"a": [2.5, None], "b": 1})
    assert canonical({"b": 1, "a": "ö"}) == '{"a":"ö","b":1}'


def test_what_is_written_and_read_and_written_again_is_the_same_bytes(tmp_path, make_response):
    rows = [make_response(f"i{n}", text=text) for n, text in enumerate(HARD_TEXTS.values())]
    write_rows(tmp_path / "one.jsonl", rows)
    write_rows(tmp_path / "two.jsonl", read_rows(tmp_path / "one.jsonl", Response))
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()


@pytest.mark.parametrize("text", HARD_TEXTS.values(), ids=HARD_TEXTS)
def test_hard_text_comes_back_as_it_was(tmp_path, make_response, text):
    write_rows(tmp_path / "rows.jsonl", [make_response(text=text)])
    assert (tmp_path / "rows.jsonl").read_bytes().count(b"\n") == 1
    assert [row.text for row in read_rows(tmp_path / "rows.jsonl", Response)] == [text]


@given(st.text())
def test_any_text_comes_back_as_it_was(text):
    row = Turn(role="user", content=text)
    assert Turn.model_validate_json(canonical(row.model_dump(mode="json"))) == row


def test_writing_over_a_read_only_link_leaves_the_linked_file_alone(tmp_path):
    cached, out = tmp_path / "cached", tmp_path / "out"
    cached.write_text("old", encoding="utf-8")
    cached.chmod(0o444)
    out.symlink_to(cached)
    write_text(out, "new")
    assert cached.read_text(encoding="utf-8") == "old"
    assert out.read_text(encoding="utf-8") == "new"
    assert not out.is_symlink()


def test_writing_over_a_hard_link_leaves_the_other_name_alone(tmp_path):
    (tmp_path / "cached").write_text("old", encoding="utf-8")
    (tmp_path / "out").hardlink_to(tmp_path / "cached")
    write_text(tmp_path / "out", "new")
    assert (tmp_path / "cached").read_text(encoding="utf-8") == "old"


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path):
    write_text(tmp_path / "out", "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "out", "a lone surrogate \ud800")
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out").read_text(encoding="utf-8") == "old"


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"role": "user"}', '{"role": "robot", "content": "x"}', "nonsense"]
)
def test_a_malformed_line_is_named_by_file_and_line(tmp_path, line):
    path = tmp_path / "turns.jsonl"
    path.write_text(f'{{"role": "user", "content": "x"}}\n\n{line}\n', encoding="utf-8")
    with pytest.raises(ArenaError) as caught:
        read_rows(path, Turn)
    assert caught.value.where == f"{path}, line 3"  # the blank line counts
    assert caught.value.hint


def test_a_row_ends_at_a_line_feed_alone(tmp_path):
    path = tmp_path / "turns.jsonl"
    path.write_bytes(
        '{"role":\r"user",\r\n'.replace("\r\n", "\r").encode() + '"content":"a\u2028b\x85c"}\r\n'.encode()
    )
    assert read_rows(path, Turn) == [Turn(role="user", content="a\u2028b\x85c")]


def test_a_file_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / "latin.jsonl").write_bytes('{"role":"user","content":"é"}'.encode("latin-1"))
    with pytest.raises(ArenaError, match="not UTF-8"):
        read_rows(tmp_path / "latin.jsonl", Turn)


def test_a_mark_of_the_encoding_is_passed_over_and_half_a_character_is_named(tmp_path):
    path = tmp_path / "turns.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + '{"role":"user","content":"多瑙河"}\n'.encode())
    assert read_rows(path, Turn) == [Turn(role="user", content="多瑙河")]
    path.write_text(
        '{"role":"user","content":"x"}\n{"role":"user","content":"half \\ud83d"}\n', encoding="utf-8"
    )
    with pytest.raises(ArenaError) as caught:
        read_rows(path, Turn)
    assert caught.value.where == f"{path}, line 2"


def test_a_folder_in_place_of_a_file_is_told(tmp_path):
    for read in (lambda p: read_rows(p, Turn), read_json):
        with pytest.raises(ArenaError, match="cannot be read: Is a directory") as caught:
            read(tmp_path)
        assert caught.value.where == str(tmp_path)


def test_a_missing_file_says_which_and_how_to_mend_it(tmp_path):
    for read in (lambda p: read_rows(p, Turn), read_json):
        with pytest.raises(ArenaError, match="no such file") as caught:
            read(tmp_path / "none.jsonl")
        assert "none.jsonl" in caught.value.where
        assert caught.value.hint


def test_a_json_file_that_is_none_is_named(tmp_path):
    (tmp_path / "x.json").write_text("{", encoding="utf-8")
    with pytest.raises(ArenaError, match="not JSON"):
        read_json(tmp_path / "x.json")


def test_an_unknown_field_is_refused():
    with pytest.raises(ValidationError, match="Extra inputs"):
        Turn.model_validate({"role": "user", "content": "x", "contents": "y"})


def test_nan_is_neither_written_nor_read(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "x.json", {"loss": math.nan})
    assert not (tmp_path / "x.json").exists()
    battle = {
        "instruction_id": "i",
        "category": "c",
        "judge": "j",
        "a": "a",
        "b": "b",
        "winner": "tie",
        "games": 2,
    }
    with pytest.raises(ValidationError, match="finite"):
        Battle.model_validate_json(json.dumps({**battle, "gap": math.nan}))


@pytest.mark.parametrize(
    ("roles", "problem"),
    [
        ("", "at least 1"),
        ("assistant", "last turn must be the user's"),
        ("user assistant", "last turn must be the user's"),
        ("user user", "must alternate"),
        ("assistant user", "must alternate"),
        ("user assistant assistant user", "must alternate"),
        ("system", "last turn must be the user's"),
        ("user assistant system user", "only the first turn may be a system turn"),
    ],
)
def test_turns_out_of_order_are_refused(roles, problem):
    turns = [{"role": role, "content": "x"} for role in roles.split()]
    with pytest.raises(ValidationError, match=problem):
        Instruction.model_validate({"id": "i", "turns": turns})


@pytest.mark.parametrize(
    "roles", ["user", "system user", "user assistant user", "system user assistant user"]
)
def test_conversations_that_end_in_a_user_turn_are_taken(roles):
    turns = [{"role": role, "content": "x"} for role in roles.split()]
    assert Instruction.model_validate({"id": "i", "turns": turns}).multi_turn == ("assistant" in roles)


@pytest.mark.parametrize("content", ["", " ", "\n\t", "\u3000"])
def test_an_empty_turn_is_refused_by_its_number(content):
    with pytest.raises(ValidationError, match="turn 1 is empty"):
        Instruction(id="i", turns=(Turn(role="user", content=content),))


@pytest.mark.parametrize("name", ["", "a b", "a/b", "../x", "a\n", "{{ x }}"])
def test_an_id_that_could_be_taken_for_something_else_is_refused(name):
    with pytest.raises(ValidationError):
        Instruction(id=name, turns=(Turn(role="user", content="x"),))


def test_an_unscored_game_needs_its_reason_and_scores_stay_in_range():
    shared = {"instruction_id": "i", "judge": "j", "first": "a", "second": "b"}
    with pytest.raises(ValidationError, match="needs a reason"):
        Game(**shared, unscored=" ")
    for score in (0.5, 10.5, math.nan):
        with pytest.raises(ValidationError):
            Game(**shared, score_first=score, score_second=5)
