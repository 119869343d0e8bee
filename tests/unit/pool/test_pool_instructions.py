"""Pools in the formats of public data sets, in every kind of file; what cannot be used is counted with its line."""

from __future__ import annotations

import csv
import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from arena_learning.cli.main import cli
from arena_learning.core import ArenaError
from arena_learning.pool.instructions import PoolFiles, read_benchmarks, read_pool

USER, BOT = "user", "assistant"


def turns(*texts, keys=("role", "content"), names=(USER, BOT)):
    return [{keys[0]: names[n % 2], keys[1]: text} for n, text in enumerate(texts)]


LMSYS = {
    "conversation_id": "l1",
    "model": "vicuna-13b",
    "conversation": turns("What is a tide?", "The sea's rise.", "Why twice a day?", "The moon."),
    "turn": 2,
    "language": "English",
    "openai_moderation": [{"flagged": False, "categories": {"hate": False}}, {"flagged": True}],
    "redacted": False,
}
ULTRA = {
    "source": "evol_instruct",
    "instruction": "Name three metals.",
    "models": ["a", "b"],
    "completions": [
        {"model": "a", "response": "Iron, tin, lead.", "overall_score": 8.0},
        {"model": "b", "response": "Wood.", "overall_score": 1.0},
    ],
    "correct_answers": ["None"],
}
BINARIZED = {
    "prompt": "Name a bird.",
    "prompt_id": "u2",
    "chosen": turns("Name a bird.", "A wren."),
    "rejected": turns("Name a bird.", "A bat."),
    "messages": turns("Name a bird.", "A wren."),
    "score_chosen": 9.0,
    "score_rejected": 2.0,
}
# Of each format a row as its file holds it, and the turns that it asks.
FORMATS = {
    "own": ({"id": "o1", "turns": turns("Name a river.")}, ["Name a river."]),
    "sharegpt": (
        {
            "id": "s1",
            "conversations": [
                {"from": "system", "value": "Be brief."},
                *turns(
                    "Hi", "Hello", "Name a sea.", "The Red.", keys=("from", "value"), names=("human", "gpt")
                ),
            ],
        },
        ["Be brief.", "Hi", "Hello", "Name a sea."],
    ),
    "lmsys": (LMSYS, ["What is a tide?", "The sea's rise.", "Why twice a day?"]),
    "wildchat": (
        {
            "conversation_hash": "w1",
            "model": "gpt",
            "conversation": [
                {"role": r, "content": c, "language": "English", "toxic": False, "turn_identifier": 7}
                for r, c in ((USER, "Name a lake."), (BOT, "Como."))
            ],
            "language": "English",
            "toxic": True,
        },
        ["Name a lake."],
    ),
    "alpaca": (
        {"instruction": "Sort these.", "input": "3, 1, 2", "output": "1, 2, 3"},
        ["Sort these.\n\n3, 1, 2"],
    ),
    "openorca": (
        {
            "id": "flan.1",
            "system_prompt": "You are a teacher.",
            "question": "Is 7 prime?",
            "response": "Yes.",
        },
        ["You are a teacher.", "Is 7 prime?"],
    ),
    "flan": ({"inputs": "Premise: It rains.", "targets": "yes", "task": "nli"}, ["Premise: It rains."]),
    "ultrafeedback": (ULTRA, ["Name three metals."]),
    "binarized": (BINARIZED, ["Name a bird."]),
    "mtbench": (
        {"question_id": 81, "category": "writing", "turns": ["Write a post.", "Rewrite it."]},
        ["Write a post."],
    ),
}


def write(path, rows):
    """Write the rows in the format that the file's name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".arrow":
        table = pa.Table.from_pylist(rows)
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("ending", ["jsonl", "json", "jsonl.gz", "parquet", "arrow"])
@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_read_from_every_kind_of_file(tmp_path, kind, ending):
    row, asked = FORMATS[kind]
    (instruction,) = read_pool(write(tmp_path / f"{kind}.{ending}", [row]))
    assert [turn.content for turn in instruction.turns] == asked
    assert instruction.multi_turn == (BOT in [turn.role for turn in instruction.turns])
    if kind not in ("own", "ultrafeedback"):
        assert instruction.source == kind


def test_a_folder_of_different_sources_is_one_pool_in_the_order_of_names(tmp_path):
    write(tmp_path / "b.jsonl", [FORMATS["alpaca"][0]])
    write(tmp_path / "a" / "train-0.parquet", [FORMATS["lmsys"][0]])
    write(tmp_path / "a" / "README.md", [{}])
    write(tmp_path / "c.json", [FORMATS["flan"][0]])
    assert [i.source for i in read_pool(tmp_path)] == ["a", "b", "c"]


def test_a_data_set_saved_to_disk_is_read_without_what_lies_beside_its_rows(tmp_path):
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    rows = [{"instruction": f"Name river {n}.", "input": "", "output": "x"} for n in range(5)]
    whole = datasets.Dataset.from_list(rows)
    datasets.DatasetDict({"train": whole.select(range(3)), "test": whole.select(range(3, 5))}).save_to_disk(
        str(tmp_path / "saved")
    )
    # What `map` leaves beside the rows would give them twice.
    data = next((tmp_path / "saved" / "train").glob("data-*.arrow"))
    (data.parent / "cache-123.arrow").write_bytes(data.read_bytes())
    pool = read_pool(tmp_path / "saved")
    assert sorted(i.text for i in pool) == [f"Name river {n}." for n in range(5)]
    assert {i.source for i in pool} == {"train", "test"}


def test_what_a_source_flagged_is_known(tmp_path):
    files = PoolFiles()
    rows = [LMSYS, FORMATS["wildchat"][0], {**LMSYS, "conversation_id": "l2", "openai_moderation": []}]
    files.read(write(tmp_path / "x.jsonl", rows))
    assert files.flagged == {"l1", "w1"}


def test_ids_that_two_public_rows_share_are_told_apart(tmp_path):
    rows = [{"id": "1", "instruction": text} for text in ("Name a river.", "Name a sea.", "Name a sea.")]
    files = PoolFiles()
    files.read(write(tmp_path / "x.jsonl", rows))
    first, second, third = (i.id for i in files.instructions)
    assert first == "1"
    assert second.startswith("1-")
    assert third == f"{second}-2"
    assert files.card()["renamed"] == 2


BAD = [
    {"instruction": "Name a river."},
    {"id": "x", "conversations": [{"value": "no speaker"}]},
    {"id": "y", "messages": turns("Hi", "Hello")[::-1]},
    {"unknown": 1},
    {"id": "z", "turns": [{"role": "assistant", "content": "first"}]},
]


def test_bad_rows_are_counted_with_file_and_line(tmp_path):
    path = write(tmp_path / "x.jsonl", BAD)
    path.write_text(path.read_text() + "{broken\n", encoding="utf-8")
    files = PoolFiles()
    files.read(path, strict=False)
    assert [i.text for i in files.instructions] == ["Name a river."]
    card = files.card()
    assert card["malformed"] == 3
    assert [line.partition(": ")[0].rpartition("/")[2] for line in card["first_malformed"]] == [
        "x.jsonl, line 2",
        "x.jsonl, line 5",
        "x.jsonl, line 6",
    ]
    assert card["passed_over"] == {
        "a conversation that does not begin with the user": 1,
        "a row without an instruction": 1,
    }


def test_strict_stops_at_the_first_bad_row(tmp_path):
    with pytest.raises(ArenaError, match="turn 1 has no role") as caught:
        read_pool(write(tmp_path / "x.jsonl", BAD))
    assert caught.value.where.endswith("x.jsonl, line 2")


def test_a_file_with_nothing_usable_says_what_was_there(tmp_path):
    with pytest.raises(ArenaError, match=r"no instructions \(2 of a row without an instruction\)"):
        read_pool(write(tmp_path / "x.jsonl", [{"unknown": 1}] * 2))


@pytest.mark.parametrize("name", ["x.arrow", "x.parquet"])
def test_a_file_that_is_no_table_is_an_error_with_its_name(tmp_path, name):
    (tmp_path / name).write_bytes(b"not a table at all")
    with pytest.raises(ArenaError, match=r"not (Arrow|Parquet)") as caught:
        read_pool(tmp_path / name)
    assert caught.value.where.endswith(name)


def test_a_saved_data_set_with_a_broken_description_says_so(tmp_path):
    write(tmp_path / "data-0.arrow", [FORMATS["alpaca"][0]])
    (tmp_path / "state.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ArenaError, match="does not name its files"):
        read_pool(tmp_path)


def test_benchmark_items_carry_their_files_name(tmp_path):
    items = read_benchmarks([write(tmp_path / "mt_bench.jsonl", [FORMATS["mtbench"][0]])])
    assert [(i.id, i.category) for i in items] == [("mt_bench:81", "writing")]


def test_import_reads_the_same_formats_and_names_no_author_where_there_is_none(tmp_path):
    for kind in ("alpaca", "openorca", "flan", "ultrafeedback", "sharegpt", "lmsys"):
        write(tmp_path / "in" / f"{kind}.jsonl", [FORMATS[kind][0]])
    out = tmp_path / "out"
    result = CliRunner().invoke(cli, ["import", "jsonl", str(tmp_path / "in"), "--out", str(out), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["instructions"], found["contestants"]) == (6, 3)
    assert found["passed_over"]["an answer of nobody named (--contestant names one)"] == 4
    mine, theirs = ({i.text for i in read_pool(p)} for p in (out / "instructions.jsonl", tmp_path / "in"))
    assert mine == theirs
    assert json.loads((out / "answers" / "b.jsonl").read_text())["text"] == "Wood."


def test_a_csv_of_questions_is_a_pool(tmp_path):
    with (tmp_path / "x.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["question", "level"], ["Name a river.", "1"], ["Name a sea.", "2"]])
    assert [i.text for i in read_pool(tmp_path / "x.csv")] == ["Name a river.", "Name a sea."]
