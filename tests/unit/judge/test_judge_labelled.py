"""Labelled pairs in the forms that files have them; what is none is told or counted."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from arena_learning.core.errors import ArenaError
from arena_learning.judge.audit.labelled import read_labelled

PAIR = {"id": "p1", "instruction": "Q", "response_a": "A", "response_b": "B", "label": "model_a"}


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def turns(*roles):
    return [{"role": role, "content": "x"} for role in roles]


@pytest.mark.parametrize("said", ["A", "a", "model_a", "left", "[[A]]"])
def test_a_label_may_be_spelt_as_votes_are(tmp_path, said):
    file = write(
        tmp_path / "l.jsonl", {**PAIR, "label": said}, {**PAIR, "id": "p2", "label": "tie (bothbad)"}
    )
    assert [pair.label for pair in read_labelled(file).pairs] == ["model_a", "tie"]


@pytest.mark.parametrize("missing", [None, "", "nan", float("nan")])
def test_a_pair_without_a_label_is_counted(tmp_path, missing):
    file = write(tmp_path / "l.jsonl", PAIR, {**PAIR, "id": "p2", "label": missing})
    labelled = read_labelled(file)
    assert (len(labelled.pairs), labelled.passed) == (1, {"no winner given": 1})
    with pytest.raises(ArenaError, match="no labelled pairs") as caught:
        read_labelled(write(tmp_path / "l.jsonl", {**PAIR, "label": missing}))
    assert "no winner given" in caught.value.hint


@pytest.mark.parametrize(
    ("roles", "what"),
    [
        (("user", "assistant"), "the last turn must be the user's"),
        (("user", "user"), "must alternate"),
        (("user", "assistant", "system", "user"), "only the first turn may be a system turn"),
        (("tool",), "role"),
    ],
)
def test_turns_that_no_judge_can_be_shown_name_their_line(tmp_path, roles, what):
    row = {**PAIR, "id": "p2", "turns": turns(*roles)}
    with pytest.raises(ArenaError, match=what) as caught:
        read_labelled(write(tmp_path / "l.jsonl", PAIR, row))
    assert caught.value.where.endswith("l.jsonl, line 2")


@pytest.mark.parametrize(
    "change",
    [
        {"response_b": None},
        {"response_b": 5},
        {"turns": "x"},
        {"id": None},
        {"id": [1]},
        {"rubric": [{"kind": "nonsense"}]},
        {"instruction": ["Q"]},
    ],
)
def test_a_malformed_pair_names_its_line(tmp_path, change):
    with pytest.raises(ArenaError) as caught:
        read_labelled(write(tmp_path / "l.jsonl", PAIR, {**PAIR, "id": "p2", **change}))
    assert "l.jsonl, line 2" in caught.value.where


@pytest.mark.parametrize("name", ["l.csv", "l.parquet", "l.json", "l.jsonl"])
def test_every_kind_of_file_gives_the_same(tmp_path, name):
    table = pd.DataFrame([PAIR, {**PAIR, "id": "p2", "label": "Tie", "category": "c"}]).fillna(
        {"category": "other"}
    )
    path = tmp_path / name
    if name == "l.csv":
        table.to_csv(path, index=False)
    elif name == "l.parquet":
        table.to_parquet(path)
    else:
        table.to_json(path, orient="records", lines=name == "l.jsonl")
    labelled = read_labelled(path)
    assert [(p.id, p.instruction, p.label, p.category) for p in labelled.pairs] == [
        ("p1", "Q", "model_a", "other"),
        ("p2", "Q", "tie", "c"),
    ]


def test_votes_of_the_arena_are_labelled_pairs(tmp_path):
    def talk(*texts):
        return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]

    vote = {"model_a": "x", "model_b": "y", "winner": "both_bad"}
    rows = [
        {**vote, "question_id": "q1", "conversation_a": talk("Q", "A"), "conversation_b": talk("Q", "B")},
        {
            **vote,
            "question_id": "q2",
            "conversation_a": talk("Q", "A", "P", "C"),
            "conversation_b": talk("Q", "B"),
        },
        {**vote, "question_id": "q3", "conversation_a": talk("Q", ""), "conversation_b": talk("Q", "B")},
        {**vote, "question_id": "q4", "conversation_a": talk("Q", "A"), "conversation_b": talk("P", "B")},
    ]
    labelled = read_labelled(write(tmp_path / "l.jsonl", *rows))
    assert [(p.id, p.response_a, p.response_b, p.label) for p in labelled.pairs] == [("q1", "A", "B", "tie")]
    assert labelled.passed == {
        "a label of several turns": 1,
        "an empty answer": 1,
        "two conversations that do not begin alike": 1,
    }


def test_chosen_and_rejected_point_to_the_importer(tmp_path):
    with pytest.raises(ArenaError) as caught:
        read_labelled(write(tmp_path / "l.jsonl", {"id": "a", "prompt": "Q", "chosen": "A", "rejected": "B"}))
    assert "arena import" in caught.value.hint
    assert caught.value.where.endswith("line 1")


def test_line_separators_inside_a_text_are_text(tmp_path):
    text = json.dumps({**PAIR, "instruction": "one\u2028two\x85three"}, ensure_ascii=False)
    (tmp_path / "l.jsonl").write_text(f"{text}\n", encoding="utf-8")
    assert read_labelled(tmp_path / "l.jsonl").pairs[0].instruction == "one\u2028two\x85three"


def test_a_thought_in_an_answer_is_not_shown_to_a_judge(tmp_path):
    pair = {**PAIR, "response_a": "<think>Sky, sea.</think>\n\nBlue.", "response_b": "Put <think> before it."}
    labelled = read_labelled(write(tmp_path / "l.jsonl", pair))
    assert [one.text for one in labelled.responses.values()] == ["Blue.", "Put <think> before it."]
    assert [one.completion_tokens for one in labelled.responses.values()] == [1, 4]
