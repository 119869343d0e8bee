"""Reading battles: the three kinds of file, and errors with row numbers."""

import gzip
import json
import re

import pandas as pd
import pytest

from arena_learning.core.errors import ArenaError
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
        ({"count": [0, 0, 0, 0]}, r"all counts or weights are 0"),
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


VOTES = TABLE[["model_a", "model_b", "winner"]]


@pytest.mark.parametrize("name", ["b.csv", "b.jsonl", "b.json", "b.parquet"])
def test_winners_in_any_spelling_and_names_as_they_are(tmp_path, name):
    said = [
        "A",
        "b",
        "Tie",
        "tie(bothbad)",
        "both_bad",
        " bothbad",
        "TIE (Both Bad)",
        "left",
        "Model B",
        "[[A]]",
    ]
    names = ["sonnet-9 (thinking)", "sonnet-9-thinking"] * 5
    table = pd.DataFrame({"model_a": names, "model_b": "z", "winner": said})
    path = tmp_path / name
    if name == "b.json":
        path.write_text(json.dumps(table.to_dict("records")))
    elif name == "b.parquet":
        table.to_parquet(path)
    else:
        write(path, table)
    battles = read_battles(path)
    assert battles.points.tolist() == [2, 0, 1, 1, 1, 1, 1, 2, 0, 2]
    assert battles.models == ("sonnet-9 (thinking)", "sonnet-9-thinking", "z")


@pytest.mark.parametrize("winner", ["c", "1", "2", "0", "maybe", "A or B", "modela modelb", "parse_error"])
def test_what_is_no_winner_is_refused_or_counted(tmp_path, winner):
    path = write(tmp_path / "b.csv", VOTES.assign(winner=["A", "B", winner, "tie"]))
    with pytest.raises(ArenaError, match=r"row 3 \(line 4\): unknown winner"):
        read_battles(path)
    battles = read_battles(path, skip_bad=True)
    assert (len(battles), battles.passed) == (3, {"an unknown winner": 1})


@pytest.mark.parametrize("kind", ["frame", "csv", "jsonl", "parquet", "json"])
@pytest.mark.parametrize("missing", [None, float("nan"), "", "nan", "NULL"])
def test_rows_without_a_winner_are_counted(tmp_path, kind, missing):
    table = VOTES.assign(winner=["model_a", missing, "tie", missing])
    path = tmp_path / f"b.{kind}"
    if kind == "json":
        path.write_text(json.dumps(table.to_dict("records")))
    elif kind == "parquet":
        table.to_parquet(path)
    elif kind != "frame":
        write(path, table)
    battles = battles_from_frame(table) if kind == "frame" else read_battles(path)
    assert (battles.points.tolist(), battles.passed) == ([2, 1], {"no winner given": 2})
    with pytest.raises(ArenaError, match="no battles in it"):
        battles_from_frame(table.assign(winner=missing))


@pytest.mark.parametrize(
    "values", [(1, 0), (True, False), (1.0, 0.0), ("1", "0"), ("True", "false"), (1, None)]
)
@pytest.mark.parametrize("kind", ["frame", "csv", "jsonl", "parquet"])
def test_one_column_for_each_outcome(tmp_path, kind, values):
    yes, no = values
    hot = {
        "winner_model_a": [yes, no, no, no],
        "winner_model_b": [no, yes, no, no],
        "winner_tie": [no, no, yes, no],
    }
    table = VOTES.drop(columns="winner").assign(**hot)
    path = tmp_path / f"b.{kind}"
    if kind == "parquet":
        table.to_parquet(path)
    elif kind != "frame":
        write(path, table)
    battles = battles_from_frame(table) if kind == "frame" else read_battles(path)
    assert (battles.points.tolist(), battles.passed) == ([2, 0, 1], {"no winner given": 1})


def test_outcomes_that_contradict_each_other_are_refused():
    hot = {"winner_model_a": [1, 1, 0, 0], "winner_model_b": [0, 1, 1, 0], "winner_tie": [0, 0, 0, 1]}
    table = VOTES.drop(columns="winner").assign(**hot)
    with pytest.raises(ArenaError, match="row 2: several of winner_model_a"):
        battles_from_frame(table)
    with pytest.raises(ArenaError, match="row 3: winner_model_a is '7', not 0 or 1"):
        battles_from_frame(table.assign(winner_model_a=[1, 0, 7, 0]))
    assert len(battles_from_frame(table, skip_bad=True)) == 3


@pytest.mark.parametrize(
    "columns", [["model_a", "model_b", "winner"], ["model_a", "model_b", "winner", "count"]]
)
def test_a_parquet_needs_no_optional_column(tmp_path, columns):
    TABLE[columns].to_parquet(tmp_path / "b.parquet")
    assert read_battles(tmp_path / "b.parquet").prompt is None


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl", "frame"])
@pytest.mark.parametrize("missing", ["winner", "model_b"])
def test_a_missing_column_is_named(tmp_path, kind, missing):
    table = VOTES.drop(columns=missing)
    path = tmp_path / f"b.{kind}"
    if kind == "parquet":
        table.to_parquet(path)
    elif kind != "frame":
        write(path, table)
    with pytest.raises(ArenaError, match=f"no column '{missing}'"):
        battles_from_frame(table) if kind == "frame" else read_battles(path)


def test_texts_that_a_parquet_holds_as_bytes_are_texts(tmp_path):
    votes = {"model_a": ["é", "b"], "model_b": ["b", "é"], "winner": ["A", "tie"], "prompt_id": ["1", "2"]}
    held = {name: [text.encode() for text in texts] for name, texts in votes.items()}
    pd.DataFrame(held).to_parquet(tmp_path / "b.parquet")
    battles = read_battles(tmp_path / "b.parquet")
    assert (battles.models, battles.prompts) == (("b", "é"), 2)
    pd.DataFrame({**held, "model_a": ["é".encode("latin-1"), b"b"]}).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(ArenaError, match="model_a is not UTF-8"):
        read_battles(tmp_path / "b.parquet")


def test_parquet_of_other_types(tmp_path):
    pd.DataFrame(
        {"model_a": [1, 2], "model_b": [2, 3], "winner": ["A", "B"], "prompt_id": [7, 8]}
    ).to_parquet(tmp_path / "b.parquet")
    battles = read_battles(tmp_path / "b.parquet")
    assert (battles.models, battles.prompts) == (("1", "2", "3"), 2)
    pd.DataFrame({"model_a": [["x"]], "model_b": ["y"], "winner": ["A"]}).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(ArenaError, match="model_a contains lists or objects"):
        read_battles(tmp_path / "b.parquet")
    pd.DataFrame({"model_a": ["x"], "model_b": ["y"], "winner": [None]}).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(ArenaError, match="no battles"):
        read_battles(tmp_path / "b.parquet")


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
def test_a_row_of_jsonl_ends_at_a_line_feed_alone(tmp_path, mark):
    row = {"model_a": f"x{mark}y", "model_b": "z", "winner": "A", "prompt": f"one{mark}two"}
    raw = json.dumps(row, ensure_ascii=False) if ord(mark) > 0x7F else json.dumps(row)
    (tmp_path / "b.jsonl").write_bytes(f"{raw}\r\n\n{raw}\n".encode())
    assert read_battles(tmp_path / "b.jsonl").models == (f"x{mark}y", "z")


def test_an_error_of_jsonl_names_its_line(tmp_path):
    good = {"model_a": "x", "model_b": "y", "winner": "A"}
    rows = [good, {**good, "winner": "who"}]
    (tmp_path / "b.jsonl").write_text("\n\n".join(map(json.dumps, rows)))
    with pytest.raises(ArenaError, match=r"row 2 \(line 3\): unknown winner 'who'"):
        read_battles(tmp_path / "b.jsonl")
    (tmp_path / "b.jsonl").write_text(json.dumps({**good, "model_a": {"name": "x"}}))
    with pytest.raises(ArenaError, match="line 1: model_a is a list or an object"):
        read_battles(tmp_path / "b.jsonl")


BAD_LINES = """model_a,model_b,winner,count
x,y,A,1
x,y
x,y,maybe,1
x,x,A,1
,y,A,1
x,y,,1
x,y,B,-1
x,y,B,1,5
x,y,B,1
"""


def test_skip_bad_counts_each_reason(tmp_path):
    (tmp_path / "b.csv").write_text(BAD_LINES)
    with pytest.raises(ArenaError, match=r"row 2: the row has 2 columns, the header 4, by commas"):
        read_battles(tmp_path / "b.csv")
    battles = read_battles(tmp_path / "b.csv", skip_bad=True)
    assert battles.points.tolist() == [2, 0]
    assert battles.models == ("x", "y")
    assert battles.passed == {
        "a contestant against itself": 1,
        "an unknown winner": 1,
        "count is not a whole number, 0 or more": 1,
        "model_a is empty": 1,
        "no winner given": 1,
        "not 4 columns": 2,
    }
    rows = ['{"model_a": "x", "model_b": "y", "winner": "A"}', "{", "[1]", '{"model_a": [], "model_b": "y"}']
    (tmp_path / "b.jsonl").write_text("\n".join(rows))
    battles = read_battles(tmp_path / "b.jsonl", skip_bad=True)
    assert battles.passed == {
        "not JSON": 1,
        "not a JSON object": 1,
        "model_a is a list or an object, not a text": 1,
    }


def test_skipping_takes_prompts_and_contestants_of_bad_rows_along():
    table = TABLE.assign(winner=["model_a", "maybe", "maybe", "model_b"], prompt_id=["p", "q", None, "p"])
    battles = battles_from_frame(table.assign(model_a=["x", "only here", "z", "x"]), skip_bad=True)
    assert (battles.models, battles.prompts, len(battles)) == (("x", "y", "z"), 1, 2)


@pytest.mark.parametrize("separator", [";", "\t", "|"])
@pytest.mark.parametrize("name", ["b.csv", "b.csv.gz", "b.tsv"])
def test_a_csv_of_another_separator(tmp_path, separator, name):
    TABLE.to_csv(tmp_path / name, index=False, sep=separator)
    assert rate(read_battles(tmp_path / name), SANDWICH).to_dict() == rate(TABLE, SANDWICH).to_dict()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1"])
@pytest.mark.parametrize("name", ["b.csv", "b.jsonl", "b.json"])
def test_another_encoding_is_read_or_named(tmp_path, encoding, name):
    row = {"model_a": "größe", "model_b": "y", "winner": "A"}
    text = (
        f"{','.join(row)}\n{','.join(row.values())}\n"
        if name == "b.csv"
        else json.dumps(row, ensure_ascii=False)
    )
    (tmp_path / name).write_bytes(text.encode(encoding))
    if encoding in ("utf-16", "utf-32"):
        assert read_battles(tmp_path / name).models == ("größe", "y")
        return
    with pytest.raises(ArenaError, match="not UTF-8") as caught:
        read_battles(tmp_path / name)
    assert ("UTF-16" in caught.value.what) == (encoding == "utf-16-le")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("sep=;\nmodel_a;model_b;winner\nx;y;A\n", None),
        ("model_a,model_b,winner,winner\nx,y,A,B\n", "the header has the column 'winner' twice"),
        (
            'model_a,model_b,winner,note\nx,y,A,"\nx,y,B,n\nx,y,B,n\n',
            r"line 2: a quote is opened and never closed",
        ),
        ('model_a,model_b,winner,note\nx,y,A,5" pipe\n', None),
        (f"model_a,model_b,winner,note\nx,y,A,{'n' * 3_000_000}\n", None),
    ],
)
def test_odd_csv(tmp_path, text, what):
    (tmp_path / "b.csv").write_text(text)
    if what is None:
        assert read_battles(tmp_path / "b.csv").points.tolist() == [2]
        return
    with pytest.raises(ArenaError, match=what):
        read_battles(tmp_path / "b.csv")


def test_json_of_any_kind_gives_words_and_no_traceback(tmp_path):
    for text in ("", "{", "1", "[]", "[[1]]", "null", '{"a": 1}', "[" * 5000):
        (tmp_path / "b.json").write_text(text)
        with pytest.raises(ArenaError):
            read_battles(tmp_path / "b.json")
