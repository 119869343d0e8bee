from __future__ import annotations

import json

import pytest

from arena_learning.core.errors import ArenaError
from arena_learning.engines.recorded import RecordedEngine
from arena_learning.params.contestants import Sampling
from arena_learning.schema.rows import Instruction
from arena_learning.testing.engine_suite import (
    CONVERSATIONS,
    PLAIN,
    EngineConformance,
    ask,
    check_engine_closes,
)

INSTRUCTIONS = [
    Instruction(id=f"i{number}", turns=tuple(turns)) for number, turns in enumerate(CONVERSATIONS)
]


def write(path, answers):
    lines = [json.dumps({"id": key, "text": text}, ensure_ascii=False) + "\n" for key, text in answers]
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "expert.jsonl", [(i.id, f"Answer {n} 🙂") for n, i in enumerate(INSTRUCTIONS)])


@pytest.fixture
def engine(file):
    return RecordedEngine(file, INSTRUCTIONS)


class TestConformance(EngineConformance):
    max_tokens_binds = False


def test_gives_the_answer_of_the_id_with_words_as_tokens(engine):
    (answer,) = engine.respond(PLAIN[2:3], Sampling())
    # "Answer 2 🙂" is 3 words, "Name 2 rivers and a colour." is 6.
    assert answer == ("Answer 2 🙂", "stop", 6, 3, 0.0, (), "", 0)


def test_missing_answers_are_named_and_counted(tmp_path):
    few = write(tmp_path / "few.jsonl", [(i.id, "x") for i in INSTRUCTIONS[7:]])
    with pytest.raises(
        ArenaError, match=r"no answer to 7 of \d+ instructions \(i0, i1, i2, i3, i4, \.\.\.\)"
    ) as caught:
        RecordedEngine(few, INSTRUCTIONS)
    assert caught.value.where == str(few)


def test_answers_that_are_not_asked_for_are_counted(file):
    assert RecordedEngine(file, INSTRUCTIONS[:3]).unused == len(INSTRUCTIONS) - 3


def test_a_conversation_that_was_not_announced_is_refused(file):
    with pytest.raises(ArenaError, match=r"1 conversations were not among the instructions \(Name 5 rivers"):
        RecordedEngine(file, INSTRUCTIONS[:3]).respond([PLAIN[5]], Sampling())


def test_the_fingerprint_follows_the_answers_not_the_file(tmp_path, file, engine):
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    moved = tmp_path / "moved.jsonl"
    moved.write_text("".join(lines[::-1]), encoding="utf-8")
    assert RecordedEngine(moved, INSTRUCTIONS).fingerprint == engine.fingerprint
    moved.write_text("".join(lines).replace("Answer 1", "Answer I"), encoding="utf-8")
    assert RecordedEngine(moved, INSTRUCTIONS).fingerprint != engine.fingerprint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"id": "a", "text": "x"}\nnot json\n', "line 2: the row: Invalid JSON"),
        (b'{"id": "a"}\n', "line 1: text: Field required"),
        (b'{"id": "a", "text": "x"}\n\n{"id": "a", "text": "y"}\n', "line 3: 'a' is answered twice"),
        (b"\xff\xfe", "not UTF-8"),
        (b'{"id": "a", "text": "half \\ud83d"}\n', "line 1: the row: Invalid JSON"),
    ],
)
def test_a_malformed_file_is_refused_with_its_line(tmp_path, content, message):
    path = tmp_path / "bad.jsonl"
    path.write_bytes(content)
    with pytest.raises(ArenaError) as caught:
        RecordedEngine(path, [])
    assert message in str(caught.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ArenaError, match="no such file of recorded answers"):
        RecordedEngine(tmp_path / "none.jsonl", [])


def test_line_separators_inside_an_answer_do_not_split_it(tmp_path):
    text = "one\u2028two\u0085three\rfour"
    path = write(tmp_path / "odd.jsonl", [("a", text)])
    engine = RecordedEngine(path, [Instruction(id="a", turns=tuple(ask("Say it.")))])
    assert engine.respond([ask("Say it.")], Sampling())[0].text == text


def test_tokens_are_counted_where_a_script_writes_no_spaces_and_a_mark_of_the_encoding_is_passed_over(
    tmp_path,
):
    path = write(tmp_path / "a.jsonl", [("a", "它流入黑海。")])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    engine = RecordedEngine(path, [Instruction(id="a", turns=tuple(ask("它在哪里入海？")))])
    # Six characters and a question mark asked, five and a stop answered.
    assert engine.respond([ask("它在哪里入海？")], Sampling())[0] == (
        "它流入黑海。",
        "stop",
        7,
        6,
        0.0,
        (),
        "",
        0,
    )


def test_the_same_question_twice_with_two_answers_is_refused(tmp_path):
    path = write(tmp_path / "twice.jsonl", [("a", "x"), ("b", "y")])
    twins = [Instruction(id=name, turns=tuple(ask("Same?"))) for name in ("a", "b")]
    with pytest.raises(ArenaError, match="'b' asks the same as another instruction"):
        RecordedEngine(path, twins)


def test_close(engine):
    check_engine_closes(engine)


def test_a_thought_in_a_recorded_answer_is_no_part_of_it(tmp_path):
    path = tmp_path / "a.jsonl"
    lines = [
        {"id": "a", "text": "<think>\nSky, sea.\n</think>\n\nBlue."},
        {"id": "b", "text": "Blue.", "thought": "Sky, sea."},
        {"id": "c", "text": "<think>Sky, se"},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    questions = {name: ask(f"Name a colour, {name}.") for name in "abc"}
    engine = RecordedEngine(
        path, [Instruction(id=name, turns=tuple(turns)) for name, turns in questions.items()]
    )
    inside, beside, cut = engine.respond(list(questions.values()), Sampling())
    assert (inside.text, inside.thought, inside.thought_tokens, inside.completion_tokens) == (
        "Blue.",
        "Sky, sea.",
        2,
        3,
    )
    assert inside == beside
    assert (cut.text, cut.thought, cut.finish_reason) == ("", "Sky, se", "length")
