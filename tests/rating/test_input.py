"""Reading battles: the three kinds of file, and errors with row numbers."""

import gzip
import json
import re

import pandas as pd
import pytest

from arena_learning.errors import ArenaError
from arena_learning.rating import RatingParams, battles_from_frame, rate, read_battles

TABLE = pd.DataFrame(
    {
        "model_a": ["x", "y", "z", "x"],
        "model_b": ["y", "x", "x", "z"],
        "winner": ["model_a", "tie", "tie (bothbad)", "model_b"],
        "prompt_id": ["p1", "p1", "7", "7"],
        "count": [1, 2, 3, 1],
        "weight": [1.0, 0.5, 1.0, 1.0],
        "note": ["ignored"] * 4,
    }
)
SANDWICH = RatingParams(interval="sandwich")


def write(path, table=TABLE):
    if path.name.endswith(".parquet"):
        table.astype({"model_a": "category", "prompt_id": "category"}).to_parquet(path, row_group_size=2)
    elif ".jsonl" in path.name:
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_dict("records")))
    else:
        table.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["b.csv", "b.csv.gz", "b.jsonl", "b.parquet"])
def test_every_kind_of_file_gives_the_same(tmp_path, name):
    read = rate(read_battles(write(tmp_path / name)), SANDWICH)
    assert read.to_dict() == rate(TABLE, SANDWICH).to_dict()
    assert read.clusters == 2


def test_a_gzipped_jsonl(tmp_path):
    path = tmp_path / "b.jsonl.gz"
    with gzip.open(path, "wt") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in TABLE.to_dict("records"))
    assert len(read_battles(path)) == 4


def test_names_with_newlines_and_na_in_csv(tmp_path):
    table = TABLE.assign(model_a=["NA", "y\nz", "z", "NA"])
    battles = read_battles(write(tmp_path / "b.csv", table))
    assert set(battles.models) == {"NA", "x", "y", "y\nz", "z"}


def test_mixed_ids_are_read():
    battles = battles_from_frame(TABLE.assign(prompt_id=[7, "7b", 7, None]).iloc[:3])
    assert battles.prompts == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"winner": ["model_a", "modle_b", "tie", "tie"]},
            r"row 2.*unknown winner 'modle_b'.*did you mean 'model_b'",
        ),
        ({"model_b": ["y", "x", "z", "z"]}, r"row 3.*'z' meets itself"),
        ({"model_a": ["x", "", "z", "x"]}, r"row 2.*model_a is empty"),
        ({"count": [1, 2, -3, 1]}, r"row 3.*count is -3(\.0)?, not a whole number, 0 or more"),
        ({"count": [1.5, 2, 3, 1]}, r"row 1.*count is 1.5"),
        ({"weight": ["1", "much", "1", "1"]}, r"row 2.*weight is 'much', not a number"),
        ({"length_a": [1, 2, 3, 4]}, r"column 'length_a' without 'length_b'"),
        ({"count": [0, 0, 0, 0]}, r"every count or weight in it is 0"),
    ],
)
@pytest.mark.parametrize("kind", ["frame", "csv", "jsonl", "parquet"])
def test_bad_rows_are_named(tmp_path, change, message, kind):
    table = TABLE.assign(**change)
    with pytest.raises(ArenaError) as caught:
        battles_from_frame(table) if kind == "frame" else read_battles(write(tmp_path / f"b.{kind}", table))
    assert re.search(message, str(caught.value), re.DOTALL), str(caught.value)


def test_a_csv_error_names_the_line(tmp_path):
    path = write(tmp_path / "b.csv", TABLE.assign(winner=["model_a", "tie", "who", "tie"]))
    with pytest.raises(ArenaError, match=r"b\.csv: row 3 \(line 4\): unknown winner 'who'"):
        read_battles(path)


def test_a_missing_prompt_is_an_error():
    with pytest.raises(ArenaError, match="row 4: prompt_id is missing"):
        battles_from_frame(TABLE.assign(prompt_id=["a", "b", "c", None]))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("e.csv", "", "empty"),
        ("e.csv", "model_a,model_b,winner\n", "no battles"),
        ("e.csv", "model_a,winner\nx,tie\n", "no column 'model_b'"),
        ("e.jsonl", "", "no battles"),
        ("e.jsonl", '{"model_a": "x"\n', "line 1: not JSON"),
        ("e.jsonl", "[1]\n", "not a JSON object"),
        ("e.parquet", "nothing", "not a Parquet file"),
        ("e.txt", "x", "unknown kind of file '.txt'"),
    ],
)
def test_bad_files_are_errors(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ArenaError, match=message):
        read_battles(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ArenaError, match="no such file"):
        read_battles(tmp_path / "none.csv")


def test_a_row_with_count_zero_is_left_out():
    table = TABLE.assign(count=[1, 2, 0, 0])
    assert battles_from_frame(table).models == ("x", "y")
