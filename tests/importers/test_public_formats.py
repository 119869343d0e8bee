"""The forms in which public files hold votes, conversations and preferences: nothing in them goes without a word."""

from __future__ import annotations

import csv
import gzip
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from arena_learning.core.errors import ArenaError
from arena_learning.engines.recorded import RecordedEngine
from arena_learning.importers.run import import_files
from arena_learning.judge.audit.labelled import read_labelled
from arena_learning.judge.replay import ReplayJudge
from arena_learning.pool.instructions import read_pool
from arena_learning.pool.read import read_answers
from arena_learning.rating import read_battles

KAGGLE = [
    "id",
    "model_a",
    "model_b",
    "prompt",
    "response_a",
    "response_b",
    "winner_model_a",
    "winner_model_b",
    "winner_tie",
]


def take(tmp_path, rows, name="t.jsonl", kind="jsonl", **options):
    """Write the rows as a file of that name's format, import it, and return what was found."""
    path = tmp_path / name
    if name.endswith(".csv"):
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        path.write_text(buffer.getvalue(), encoding="utf-8")
    elif name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return import_files(kind, [path], tmp_path / "out", **options)


def pool(tmp_path):
    return {i.id: [t.content for t in i.turns] for i in read_pool(tmp_path / "out" / "instructions.jsonl")}


def answers(tmp_path):
    folder = tmp_path / "out" / "answers"
    return {f.stem: read_answers(f) for f in sorted(folder.iterdir())} if folder.is_dir() else {}


def battles(tmp_path):
    text = (tmp_path / "out" / "battles.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def turns(*texts, keys=("role", "content"), names=("user", "assistant")):
    return [{keys[0]: names[n % 2], keys[1]: text} for n, text in enumerate(texts)]


def kaggle(number, prompts, a, b, won):
    flags = [int(won == outcome) for outcome in ("a", "b", "tie")]
    cells = [f"k{number}", "gpt", "llama", *(json.dumps(x) for x in (prompts, a, b)), *flags]
    return dict(zip(KAGGLE, cells, strict=True))


@pytest.mark.parametrize("kind", ["jsonl", "fastchat"])
def test_kaggles_file_of_the_arena_becomes_votes_answers_and_labelled_pairs(tmp_path, kind):
    rows = [
        kaggle(1, ['Say "hi"'], ["Hi"], ["Hello"], "a"),
        kaggle(2, ["Two?"], ["2"], ["two"], "tie"),
        kaggle(3, ["First", "Second"], ["A 1", "A 2"], ["B 1", "B 2"], "b"),
        kaggle(4, ["Four?"], [None], ["4"], "b"),
        kaggle(5, ["Five?"], ["5"], ["five"], "none of them"),
    ]
    found = take(tmp_path, rows, "train.csv", kind)
    assert pool(tmp_path) == {
        "k1": ['Say "hi"'],
        "k2": ["Two?"],
        "k3": ["First"],
        "k4": ["Four?"],
        "k5": ["Five?"],
    }
    assert answers(tmp_path) == {
        "gpt": {"k1": "Hi", "k2": "2", "k3": "A 1", "k5": "5"},
        "llama": {"k1": "Hello", "k2": "two", "k3": "B 1", "k4": "4", "k5": "five"},
    }
    assert [(b["prompt_id"], b["winner"]) for b in battles(tmp_path)] == [
        ("k1", "model_a"),
        ("k3", "model_b"),
        ("k4", "model_b"),
        ("k2", "tie"),
    ]
    labelled = read_labelled(tmp_path / "out" / "labelled.jsonl")
    assert [(p.id, p.response_a, p.response_b, p.label) for p in labelled.pairs] == [
        ("k1", "Hi", "Hello", "model_a"),
        ("k2", "2", "two", "tie"),
    ]
    assert found["passed_over"] == {
        "a later turn of two conversations": 1,
        "a vote on several turns, which is no label of the first": 1,
        "an empty answer": 1,
        "no winner given": 1,
    }
    RecordedEngine(
        tmp_path / "out" / "answers" / "llama.jsonl", read_pool(tmp_path / "out" / "instructions.jsonl")
    )


def test_kaggles_file_is_rated_and_audited_as_it_is(tmp_path):
    rows = [kaggle(n, [f"Q {n}"], ["x"], ["y y"], "ab"[n % 2]) for n in range(4)]
    take(tmp_path, rows, "train.csv")
    assert read_battles(tmp_path / "train.csv").points.tolist() == [2, 0, 2, 0]
    labelled = read_labelled(tmp_path / "train.csv")
    assert [(p.id, p.turns[0].content, p.response_b, p.label) for p in labelled.pairs][:2] == [
        ("k0", "Q 0", "y y", "model_a"),
        ("k1", "Q 1", "y y", "model_b"),
    ]


def test_lists_of_different_lengths_name_their_line(tmp_path):
    with pytest.raises(ArenaError, match="lists of different lengths") as caught:
        take(tmp_path, [kaggle(1, ["one", "two"], ["x"], ["y"], "a")], "train.csv")
    assert caught.value.where.endswith("train.csv, line 2")


def test_one_hot_columns_must_be_one_1_among_0(tmp_path):
    row = kaggle(1, ["one"], ["x"], ["y"], "a")
    for change, what in (({"winner_tie": 1}, "are both 1"), ({"winner_model_a": 7}, "not 0 or 1")):
        with pytest.raises(ArenaError, match=what) as caught:
            take(tmp_path, [row, {**row, "id": "k2", **change}], "train.csv")
        assert caught.value.where.endswith("line 3")


@pytest.mark.parametrize("name", ["t.parquet", "t.jsonl"])
def test_conversations_of_two_contestants_become_votes_and_answers(tmp_path, name):
    def part(text):
        return [{"type": "text", "text": text}]

    vote = {"model_a": "org/x", "model_b": "y", "winner": "both_bad", "turn": 1, "tstamp": 1.5}
    rows = [
        {**vote, "question_id": "q1", "conversation_a": turns("Hi", "A"), "conversation_b": turns("Hi", "B")},
        {
            **vote,
            "question_id": "q2",
            "conversation_a": turns("Go", "A1", "On", "A2"),
            "conversation_b": turns("Go", "B1", "On", "B2"),
        },
        {**vote, "question_id": "q3", "conversation_a": turns("Hi", "A"), "conversation_b": turns("Ho", "B")},
    ]
    found = take(tmp_path, rows, name)
    assert pool(tmp_path) == {"q1": ["Hi"], "q2": ["Go"]}
    assert answers(tmp_path) == {"org-x": {"q1": "A", "q2": "A1"}, "y": {"q1": "B", "q2": "B1"}}
    assert [b["winner"] for b in battles(tmp_path)] == ["tie"] * 3
    assert found["passed_over"] == {
        "a later turn of two conversations": 1,
        "a vote on several turns, which is no label of the first": 1,
        "two conversations that do not begin alike": 1,
    }
    assert found["columns_not_read"] == {"turn": 3, "tstamp": 3}
    assert found["renamed"] == {"org/x": "org-x"}
    in_parts = [{**t, "content": part(t["content"])} for t in turns("Hi", "A")]
    row = {**vote, "question_id": "q1", "conversation_a": in_parts, "conversation_b": turns("Hi", "B")}
    assert take(tmp_path, [row], "parts.jsonl")["labelled_pairs"] == 1


@pytest.mark.parametrize("missing", [None, float("nan"), "", " ", "null", "NaN"])
@pytest.mark.parametrize("kind", ["jsonl", "fastchat"])
def test_a_missing_winner_is_counted_and_the_answers_are_kept(tmp_path, missing, kind):
    vote = {"model_a": "x", "model_b": "y", "prompt": "Q", "response_a": "A", "response_b": "B"}
    found = take(tmp_path, [{**vote, "winner": missing}, {**vote, "winner": "A"}], kind=kind)
    assert (found["passed_over"], found["battles"], found["answers"]) == ({"no winner given": 1}, 1, 2)
    assert read_battles(tmp_path / "t.jsonl").passed == {"no winner given": 1}


def test_a_missing_preference_of_alpaca_eval_is_counted(tmp_path):
    row = {"instruction_id": "i", "baseline": "x", "model": "y", "judge": "j"}
    rows = [{**row, "preference": p} for p in (None, float("nan"), "", "NaN", 2)]
    found = take(tmp_path, rows, kind="alpaca-eval")
    assert (found["verdicts"], found["passed_over"]) == (1, {"no preference given": 4})


SHAREGPT = {"keys": ("from", "value"), "names": ("human", "gpt")}


def test_sharegpt_conversations_become_instructions_and_answers(tmp_path):
    rows = [
        {"id": "s1", "conversations": turns("Hi", "Hello", **SHAREGPT)},
        {"id": "s2", "conversations": turns("One", "1", "Two", "2", **SHAREGPT)},
        {
            "id": "s3",
            "conversations": [{"from": "system", "value": "Be brief."}, *turns("Q", "A", **SHAREGPT)],
        },
    ]
    found = take(tmp_path, rows, contestant="gpt")
    assert pool(tmp_path) == {"s1": ["Hi"], "s2": ["One", "1", "Two"], "s3": ["Be brief.", "Q"]}
    assert answers(tmp_path) == {"gpt": {"s1": "Hello", "s2": "2", "s3": "A"}}
    assert found["passed_over"] == {}
    found = take(tmp_path, rows, "again.jsonl")
    assert found["passed_over"] == {"an answer of nobody named (--contestant names one)": 3}
    RecordedEngine(
        tmp_path / "out" / "answers" / "gpt.jsonl", read_pool(tmp_path / "out" / "instructions.jsonl")
    )


@pytest.mark.parametrize("name", ["t.parquet", "t.jsonl", "t.csv"])
@pytest.mark.parametrize("key", ["conversation_id", "conversation_hash"])
def test_the_answer_of_a_conversations_model_is_recorded(tmp_path, name, key):
    rows = [
        {key: "c1", "model": "vicuna", "conversation": turns("Hi", "Ja"), "language": "German"},
        {key: "c2", "model": "koala", "conversation": turns("1", "a", "2", "b"), "language": "English"},
    ]
    if name == "t.csv":
        rows = [{**row, "conversation": json.dumps(row["conversation"])} for row in rows]
    found = take(tmp_path, rows, name)
    assert pool(tmp_path) == {"c1": ["Hi"], "c2": ["1", "a", "2"]}
    assert answers(tmp_path) == {"koala": {"c2": "b"}, "vicuna": {"c1": "Ja"}}
    assert [i.language for i in read_pool(tmp_path / "out" / "instructions.jsonl")] == ["de", "en"]
    assert (found["passed_over"], found["columns_not_read"]) == ({}, {})


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (turns("Hi", ""), "an empty answer"),
        (turns("Hi", " ", "Go on", "A"), "a conversation with an empty turn"),
        (turns("", "A"), "a conversation with an empty turn"),
        ([*turns("Hi"), *turns("Hi", "A")], "a conversation with two turns of one speaker in a row"),
        (
            [*turns("Hi", "A"), {"role": "assistant", "content": "B"}],
            "a conversation with two turns of one speaker in a row",
        ),
        ([*turns("Hi"), {"role": "tool", "content": "42"}], "a conversation with a turn of 'tool'"),
        (
            [{"role": "assistant", "content": "A"}, *turns("Hi", "B")],
            "a conversation that does not begin with the user",
        ),
        ([{"role": "assistant", "content": "A"}], "a conversation without a user's turn"),
        (
            [*turns("Hi", "A"), {"role": "system", "content": "S"}, *turns("Q")],
            "a conversation with a system turn inside it",
        ),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}, *turns("x", "A")[1:]],
            "a conversation with a part of kind 'image_url'",
        ),
        (
            [*turns("Hi"), {"role": "assistant", "content": None, "tool_calls": []}, *turns("Q")],
            "a conversation with an empty turn",
        ),
    ],
)
def test_an_odd_conversation_is_counted_by_its_reason_and_stops_nothing(tmp_path, odd, reason):
    rows = [
        {"conversation_id": "c1", "model": "m", "conversation": odd},
        {"conversation_id": "c2", "model": "m", "conversation": turns("Q", "A")},
    ]
    found = take(tmp_path, rows)
    assert found["passed_over"] == {reason: 1}
    assert answers(tmp_path) == {"m": {"c2": "A"}}


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ("[{'role': 'user', 'content': 'x'}]", "list of turns"),
        ("Hi", "list of turns"),
        ([1], "list of turns"),
        ([{"content": "x"}], "turn 1 has no role"),
        ([{"role": "user", "content": {"a": 1}}], "turn 1 has no text"),
    ],
)
def test_a_malformed_conversation_is_an_error_or_passed_over_and_counted(tmp_path, wrong, what):
    rows = [{"id": "c1", "model": "m", "conversation": turns("Q", "A")}]
    rows.append({"id": "c2", "model": "m", "conversation": wrong})
    with pytest.raises(ArenaError, match=what) as caught:
        take(tmp_path, rows)
    assert caught.value.where.endswith("t.jsonl, line 2")
    found = take(tmp_path, rows, skip_bad=True)
    assert found["passed_over"] == {"a malformed row": 1}
    assert "line 2" in found["bad_rows"][0]


CHOSEN = {"chosen": "Good", "rejected": "Bad"}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Q", **CHOSEN},
        {"prompt": "Q", "chosen": turns("Q", "Good"), "rejected": turns("Q", "Bad")},
        {"prompt": "Q", "chosen": turns("Q", "Good"), "rejected": "Bad", "messages": turns("Q", "Good")},
        {"chosen": turns("Q", "Good"), "rejected": turns("Q", "Bad")},
        {"prompt": turns("Q"), "chosen": turns("x", "Good")[1:], "rejected": turns("x", "Bad")[1:]},
        {"question": "Q", "system": "", **CHOSEN},
        {"chosen": "\n\nHuman: Q\n\nAssistant: Good", "rejected": "\n\nHuman: Q\n\nAssistant: Bad"},
    ],
)
def test_chosen_and_rejected_become_answers_a_verdict_and_a_labelled_pair(tmp_path, row):
    found = take(tmp_path, [{"prompt_id": "p1", **row}])
    assert pool(tmp_path) == {"p1": ["Q"]}
    assert answers(tmp_path) == {"chosen": {"p1": "Good"}, "rejected": {"p1": "Bad"}}
    (vote,) = battles(tmp_path)
    assert vote == {"model_a": "chosen", "model_b": "rejected", "winner": "model_a", "prompt_id": "p1"}
    (pair,) = read_labelled(tmp_path / "out" / "labelled.jsonl").pairs
    assert {pair.label: pair.response_a, "": pair.response_b}.get("model_a", pair.response_b) == "Good"
    assert {pair.response_a, pair.response_b} == {"Good", "Bad"}
    assert ReplayJudge(tmp_path / "out" / "verdicts.jsonl").both_orders is False
    assert (found["passed_over"], found["columns_not_read"]) == ({}, {})


def test_the_scores_and_models_of_chosen_and_rejected_are_kept(tmp_path):
    row = {"prompt": "Q", **CHOSEN, "chosen-model": "gpt-4", "rejected-model": "alpaca"}
    rows = [
        {**row, "prompt_id": "p1", "score_chosen": 8.5, "score_rejected": 3.0},
        {**row, "prompt_id": "p2", "chosen-rating": 4, "rejected-rating": 4},
        {**row, "prompt_id": "p3", "chosen_score": 2, "rejected_score": 7},
        {**row, "prompt_id": "p4", "score_chosen": 0.25, "score_rejected": -3},
        {**row, "prompt_id": "p5", "rejected": None},
        {**row, "prompt_id": "p6", "rejected-model": "gpt-4"},
    ]
    found = take(tmp_path, rows)
    verdicts = (tmp_path / "out" / "verdicts.jsonl").read_text().splitlines()
    scores = {v["instruction_id"]: (v["score_first"], v["score_second"]) for v in map(json.loads, verdicts)}
    assert scores == {"p1": (8.5, 3.0), "p2": (4, 4), "p4": (10, 1), "p6": (10, 1)}
    labels = {p.id: p.label for p in read_labelled(tmp_path / "out" / "labelled.jsonl").pairs}
    assert labels.keys() == {"p1", "p2", "p4", "p6"}
    assert labels["p2"] == "tie"
    assert answers(tmp_path).keys() == {"alpaca", "chosen", "gpt-4", "rejected"}
    assert found["passed_over"] == {
        "no winner given": 1,
        "scores outside 1 to 10: kept is who won": 1,
        "the rejected answer's score is the higher one": 1,
    }


def test_the_better_answer_of_labelled_pairs_stands_on_either_side(tmp_path):
    take(tmp_path, [{"prompt": f"Q {n}", "chosen": f"good {n}", "rejected": f"bad {n}"} for n in range(40)])
    pairs = read_labelled(tmp_path / "out" / "labelled.jsonl").pairs
    good = [p.response_a if p.label == "model_a" else p.response_b for p in pairs]
    assert all(text.startswith("good") for text in good)
    assert 8 < sum(p.label == "model_a" for p in pairs) < 32


def test_several_pairs_of_one_prompt_are_kept_as_labels_and_counted_as_answers(tmp_path):
    rows = [{"prompt": "Q", "chosen": "Good", "rejected": f"bad {n}"} for n in range(3)]
    found = take(tmp_path, rows)
    assert (found["instructions"], found["labelled_pairs"], found["answers"], found["verdicts"]) == (
        1,
        3,
        2,
        1,
    )
    assert found["passed_over"] == {
        "another answer of a contestant to the same instruction": 2,
        "another verdict on the same pair and instruction": 2,
    }


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({**CHOSEN}, "chosen and rejected without an instruction"),
        (
            {"chosen": turns("Q", "A"), "rejected": turns("P", "B")},
            "chosen and rejected are of different conversations",
        ),
        (
            {"chosen": turns("Q", "A", "P"), "rejected": turns("Q")},
            "an answer that does not end with the assistant's turn",
        ),
        ({"prompt": "Q", "chosen": "A", "rejected": ""}, "no winner given"),
        ({"response_a": "A", "response_b": "B", "winner": "A"}, "two answers without an instruction"),
        ({"prompt": "Q", "text": None}, None),
    ],
)
def test_what_is_not_read_is_counted(tmp_path, row, reason):
    found = take(tmp_path, [{"id": "1", "instruction": "I"}, {"id": "2", **row}])
    assert found["passed_over"] == ({reason: 1} if reason else {})


def test_an_input_beside_an_instruction_belongs_to_it(tmp_path):
    take(
        tmp_path,
        [{"id": "a", "instruction": "Shorten.", "input": "A long text.", "output": "Text.", "model": "m"}],
    )
    assert pool(tmp_path) == {"a": ["Shorten.\n\nA long text."]}


def test_two_names_stay_two_and_what_was_imported_is_rated(tmp_path):
    names = [
        "sonnet-9 (thinking)",
        "sonnet-9-thinking",
        "org/sonnet-9-thinking",
        "org sonnet-9-thinking",
        "org-sonnet-9-thinking",
    ]
    names += ["sonnet-9+thinking", "a" * 300, "a" * 300 + "b", "…"]
    votes = [
        {"model_a": one, "model_b": two, "winner": "A", "prompt": "Q", "response_a": one, "response_b": two}
        for n, one in enumerate(names)
        for two in names[n + 1 :]
    ]
    found = take(tmp_path, votes)
    files = answers(tmp_path)
    assert len(files) == len(names)
    assert sorted(next(iter(texts.values())) for texts in files.values()) == sorted(names)
    assert {"sonnet-9-thinking", "org-sonnet-9-thinking"} <= files.keys()
    assert all(len(name) < 120 for name in files)
    assert sorted(found["renamed"]) == sorted(set(names) - {"sonnet-9-thinking", "org-sonnet-9-thinking"})
    read = read_battles(tmp_path / "out" / "battles.jsonl")
    assert set(read.models) == files.keys()
    assert len(read) == len(votes)


def test_a_changed_name_is_the_same_in_every_import(tmp_path):
    one = {"id": "a", "instruction": "Q", "text": "x"}
    take(tmp_path, [{**one, "model": "sonnet-9 (thinking)"}])
    (alone,) = answers(tmp_path)
    take(tmp_path, [{**one, "model": "sonnet-9 (thinking)"}, {**one, "model": "sonnet-9-thinking"}])
    assert sorted(answers(tmp_path)) == sorted(["sonnet-9-thinking", alone])


def test_two_ids_stay_two(tmp_path):
    take(tmp_path, [{"id": i, "instruction": i} for i in ("a b", "a-b", "a/b", "-a-b")])
    assert sorted(text for (text,) in pool(tmp_path).values()) == ["-a-b", "a b", "a-b", "a/b"]


def test_votes_with_and_without_a_prompt_are_rated_together(tmp_path):
    vote = {"model_a": "x", "model_b": "y", "winner": "tie"}
    take(tmp_path, [vote, vote, {**vote, "prompt_id": "p"}])
    assert read_battles(tmp_path / "out" / "battles.jsonl").prompts == 3


def test_a_contestant_against_itself_is_counted_and_the_rest_is_rated(tmp_path):
    vote = {"model_a": "x", "model_b": "y", "winner": "left"}
    found = take(tmp_path, [vote, {**vote, "model_b": "x"}])
    assert found["passed_over"] == {"a contestant against itself": 1}
    assert len(read_battles(tmp_path / "out" / "battles.jsonl")) == 1


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_names_its_line(tmp_path, name):
    for row in (
        {"model_a": "x", "model_b": name, "winner": "A"},
        {"id": "a", "instruction": "Q", "text": "x", "model": name},
    ):
        with pytest.raises(ArenaError, match=r"is empty|no text in contestant") as caught:
            take(tmp_path, [row])
        assert caught.value.where.endswith("line 1")


def test_a_malformed_row_leaves_nothing_of_itself(tmp_path):
    rows = [
        {
            "id": "a",
            "model_a": "x",
            "model_b": "y",
            "winner": "A",
            "prompt": "Q",
            "response_a": "1",
            "response_b": "2",
        },
        {
            "id": "a",
            "model_a": "z",
            "model_b": "y",
            "winner": "A",
            "prompt": "P",
            "response_a": "3",
            "response_b": "4",
        },
    ]
    with pytest.raises(ArenaError, match="already used for another instruction"):
        take(tmp_path, rows)
    found = take(tmp_path, rows, skip_bad=True)
    assert (found["battles"], found["answers"], found["passed_over"]) == (1, 2, {"a malformed row": 1})


def test_skip_bad_passes_over_every_kind_of_malformed_row(tmp_path):
    good = '{"id": "a", "instruction": "Q \u2028 \x85 R"}'
    text = (
        f'{good}\n{{"id":\n[1]\nnull\n{{"id": "b", "instruction": " "}}\n'
        + '{"id": "c", "model_a": "x", "model_b": "y", "winner": "?"}\n'
    )
    (tmp_path / "t.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(ArenaError, match="line 2: not JSON"):
        import_files("jsonl", [tmp_path / "t.jsonl"], tmp_path / "out")
    found = import_files("jsonl", [tmp_path / "t.jsonl"], tmp_path / "out", skip_bad=True)
    assert (found["instructions"], found["passed_over"]) == (1, {"a malformed row": 5})
    assert pool(tmp_path) == {"a": ["Q \u2028 \x85 R"]}
    (tmp_path / "t.csv").write_text('id,instruction\na,Q\nb\nc,Q,R\nd,"Q"?\n\ne,Q\nf,"Q\n')
    found = import_files("jsonl", [tmp_path / "t.csv"], tmp_path / "csv", skip_bad=True)
    assert (found["instructions"], found["passed_over"]) == (2, {"a malformed row": 4})
    assert [row.split("t.csv, ")[1][:7] for row in found["bad_rows"]] == [f"line {n}:" for n in (3, 4, 5, 8)]


def test_the_command_passes_over_malformed_rows_and_says_which(tmp_path):
    from arena_learning.cli.import_ import command

    (tmp_path / "t.jsonl").write_text('{"id": "a", "instruction": "Q", "note": 1}\n{\n')
    arguments = ["jsonl", str(tmp_path / "t.jsonl"), "--out", str(tmp_path / "out")]
    assert isinstance(CliRunner().invoke(command, arguments).exception, ArenaError)
    said = CliRunner().invoke(command, [*arguments, "--skip-bad"])
    assert said.exit_code == 0, said.output
    for words in ("passed_over: a malformed row 1", "columns_not_read: note 1", "line 2: not JSON"):
        assert words in said.output


@pytest.mark.parametrize(
    ("text", "what", "where"),
    [
        ("id;instruction;text;model\na;Q;x;m\n", None, ""),
        ("sep=;\nid;instruction;text;model\na;Q;x;m\n", None, ""),
        ("id\tinstruction\ttext\tmodel\na\tQ\tx\tm\n", None, ""),
        ("id|instruction|text|model\na|Q|x|m\n", None, ""),
        ("id,instruction,text,model\ra,Q,x,m\r", None, ""),
        ('id,"instruction"?,text,model\na,Q,x,m\n', "expected after", "line 1"),
        ('id,instruction,text,model\na,Q,x,"m\nb,Q,y,m\n', "unexpected end", "line 2"),
        ('id,instruction,text,model\na,Q,x,m\nb,"Q"?,y,m\n', "expected after", "line 3"),
        ("id,id,text,model\na,Q,x,m\n", "the column 'id' twice", "t.csv"),
        ("id;instruction;text;model\na;Q;x\n", "not 4 columns", "line 2"),
    ],
)
def test_a_csv_of_another_separator_is_read_and_a_broken_one_is_told(tmp_path, text, what, where):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    if what is None:
        found = import_files("jsonl", [tmp_path / "t.csv"], tmp_path / "out")
        assert (found["instructions"], found["answers"]) == (1, 1)
        return
    with pytest.raises(ArenaError, match=what) as caught:
        import_files("jsonl", [tmp_path / "t.csv"], tmp_path / "out")
    assert caught.value.where.endswith(where)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.json"])
def test_a_mark_of_the_encoding_is_believed(tmp_path, encoding, name):
    row = {"id": "a", "instruction": "Größe?", "model": "m", "text": "x"}
    text = (
        ",".join(row) + "\n" + ",".join(row.values()) + "\n"
        if name == "t.csv"
        else json.dumps(row, ensure_ascii=False)
    )
    (tmp_path / name).write_bytes(text.encode(encoding))
    import_files("jsonl", [tmp_path / name], tmp_path / "out")
    assert pool(tmp_path) == {"a": ["Größe?"]}


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.json"])
def test_utf16_without_a_mark_is_named(tmp_path, name):
    (tmp_path / name).write_bytes('{"id": "a", "instruction": "x"}'.encode("utf-16-le"))
    with pytest.raises(ArenaError, match="looks like UTF-16"):
        import_files("jsonl", [tmp_path / name], tmp_path / "out")


def test_json_lines_that_are_called_json_are_read(tmp_path):
    (tmp_path / "t.json").write_text('{"id": "a", "instruction": "Q"}\n{"id": "b", "instruction": "R"}\n')
    assert import_files("jsonl", [tmp_path / "t.json"], tmp_path / "out")["instructions"] == 2


def test_parquet_with_times_and_odd_columns_is_read(tmp_path):
    import datetime

    table = pa.table(
        {
            "id": pa.array([1.0, 2.0]),
            "prompt": ["Q", "R"],
            "at": pa.array([1, 1700000000123456789], type=pa.timestamp("ns", tz="UTC")),
            "day": [datetime.date(2026, 1, 1)] * 2,
            "a.b": [1, 2],
            "raw": [b"\xff", b"x"],
            "extra": [{"x": [1]}, None],
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    found = import_files("parquet", [tmp_path / "t.parquet"], tmp_path / "out")
    assert pool(tmp_path) == {"1": ["Q"], "2": ["R"]}
    assert found["columns_not_read"] == {"a.b": 2, "at": 2, "day": 2, "extra": 1, "raw": 2}


def test_the_count_and_weight_of_votes_are_kept(tmp_path):
    vote = {"model_a": "x", "model_b": "y", "winner": "A"}
    take(tmp_path, [{**vote, "count": 103, "weight": 0.5}, {**vote, "winner": "B"}])
    read = read_battles(tmp_path / "out" / "battles.jsonl")
    assert read.repeats.tolist() == [103, 1]
    assert read.weight.tolist() == [0.5, 1]
    for count, what in (("many", "count is not a number"), (-1, "a count of -1"), (1.5, "a count of 1.5")):
        with pytest.raises(ArenaError, match=what):
            take(tmp_path, [{**vote, "count": count}])


def test_votes_of_a_numbered_question_belong_to_that_question(tmp_path):
    rows = [
        {"question_id": 81, "category": "writing", "turns": ["Q"]},
        {"question_id": 81, "model_a": "x", "model_b": "y", "winner": "A"},
    ]
    take(tmp_path, rows, kind="fastchat")
    assert list(pool(tmp_path)) == [battles(tmp_path)[0]["prompt_id"]] == ["mt-81"]


def test_what_a_row_holds_twice_is_counted(tmp_path):
    row = {"id": "a", "instruction": "Q", "prompt": "P", "model": "m", "output": "x", "response": "y"}
    found = take(tmp_path, [row, {**row, "id": "b", "prompt": "Q", "response": "x"}])
    passed = {"another answer in the same row": 1, "another instruction in the same row": 1}
    assert found["passed_over"] == passed
    talk = {"id": "c", "model": "m", "messages": turns("Q", "x"), "prompt": "Q", "response": "x"}
    found = take(tmp_path, [talk, {**talk, "id": "d", "prompt": "P", "response": "y"}])
    assert found["passed_over"] == passed


def test_a_vote_counts_whatever_stands_beside_it(tmp_path):
    vote = {"id": "a", "model_a": "x", "model_b": "y", "winner": "A", "messages": turns("Q", "", "P")}
    found = take(tmp_path, [vote])
    assert (found["battles"], found["passed_over"]) == (1, {"a conversation with an empty turn": 1})


def test_lists_of_texts_point_to_fastchat(tmp_path):
    with pytest.raises(ArenaError) as caught:
        take(tmp_path, [{"id": "a", "turns": ["One", "Two"]}])
    assert "arena import fastchat" in caught.value.hint


def test_a_column_that_is_nowhere_or_there_already_is_told(tmp_path):
    row = {"id": "a", "frage": "Q", "instruction": "P"}
    with pytest.raises(ArenaError, match="no column 'farge'"):
        take(tmp_path, [row], columns={"farge": "instruction"})
    with pytest.raises(ArenaError, match="already has a column 'instruction'") as caught:
        take(tmp_path, [row], columns={"frage": "instruction"})
    assert caught.value.where.endswith("line 1")


def test_files_of_another_kind_in_a_folder_are_counted(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_text('{"id": "a", "instruction": "Q"}')
    (tmp_path / "in" / "b.xlsx").write_text("x")
    found = import_files("jsonl", [tmp_path / "in"], tmp_path / "out")
    assert found["passed_over"] == {"a file of another kind": 1}


@pytest.mark.parametrize("name", ["t.jsonl.gz", "t.csv.gz", "t.json.gz"])
def test_a_packed_file_that_is_broken_is_told(tmp_path, name):
    packed = bytearray(gzip.compress(b'{"id": "a", "instruction": "one two three four"}' * 50))
    for place in range(20, 40):
        packed[place] ^= 0x55
    for raw in (bytes(packed), bytes(packed[:30]), b"not packed"):
        (tmp_path / name).write_bytes(raw)
        for read in (lambda p: import_files("jsonl", [p], tmp_path / "out"), read_labelled, read_battles):
            with pytest.raises(ArenaError) as caught:
                read(tmp_path / name)
            assert name in caught.value.where


@pytest.mark.parametrize(
    ("cells", "asked", "answer"),
    [
        (['["Hi \\ud83d?"]', '["Hello"]', '["Yo"]'], "Hi \ufffd?", "Hello"),  # half a character in a cell
        (["['Hi?']", "['Hello']", "['Yo']"], "Hi?", "Hello"),  # as pandas writes lists
        (["['Hi?', \"It's?\"]", "['Hello', None]", "['Yo', 'x']"], "Hi?", "Hello"),
        (["[1, 2] + [3] = ?", "[1, 2, 3]", "No idea"], "[1, 2] + [3] = ?", "[1, 2, 3]"),  # no list of texts
    ],
)
def test_lists_in_cells_are_read_as_json_and_as_python_prints_them(cells, asked, answer, tmp_path):
    with (tmp_path / "votes.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "model_a", "model_b", "prompt", "response_a", "response_b", "winner"])
        rows.writerow(["1", "x", "y", *cells, "A"])
    import_files("jsonl", [tmp_path / "votes.csv"], tmp_path / "out")
    assert pool(tmp_path) == {"1": [asked]}
    assert answers(tmp_path)["x"] == {"1": answer}


def test_half_a_character_in_a_conversation_in_a_cell_is_replaced(tmp_path):
    with (tmp_path / "talks.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "conversation"])
        rows.writerow(["1", '[{"role": "user", "content": "Hi \\ud83d"}]'])
    import_files("jsonl", [tmp_path / "talks.csv"], tmp_path / "out")
    assert pool(tmp_path) == {"1": ["Hi \ufffd"]}


def test_empty_lists_in_cells_are_counted(tmp_path):
    text = 'id,model_a,model_b,prompt,response_a,response_b,winner\n1,x,y,"[""Hi?""]","[]","[]",A\n2,x,y,"[]","[]","[]",A\n'
    (tmp_path / "votes.csv").write_text(text, encoding="utf-8")
    found = import_files("jsonl", [tmp_path / "votes.csv"], tmp_path / "out")
    assert (found["battles"], found["answers"]) == (2, 0)
    assert found["passed_over"] == {"a conversation with an empty turn": 1, "an empty answer": 2}
