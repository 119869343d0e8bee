from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from arena_learning.core.errors import ArenaError
from arena_learning.engines.recorded import RecordedEngine
from arena_learning.importers.run import KINDS, import_files
from arena_learning.judge.replay import ReplayJudge
from arena_learning.pool.instructions import read_pool
from arena_learning.pool.read import read_answers
from arena_learning.rating import RatingParams, rate, read_battles
from arena_learning.schema.row_files import read_rows
from arena_learning.schema.rows import RecordedVerdict

SHARED = Path(__file__).parents[3] / "shared" / "data"


def lines(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def verdicts(out):
    rows = read_rows(out / "verdicts.jsonl", RecordedVerdict)
    return [(v.first, v.second, v.score_first, v.score_second, v.order_known) for v in rows]


def battles(out):
    return [json.loads(line) for line in (out / "battles.jsonl").read_text().splitlines()]


def test_alpaca_evals_own_files_become_pool_opponents_and_verdicts(tmp_path):
    outputs = [
        {"instruction": f"Q {n}", "output": f"A {n}", "generator": "my/model", "dataset": "d"}
        for n in range(3)
    ]
    (tmp_path / "outputs.json").write_text(json.dumps(outputs))
    judged = {
        "instruction": "Q 0",
        "output_1": "Base 0",
        "generator_1": "base",
        "output_2": "A 0",
        "generator_2": "my/model",
        "annotator": "gpt4",
        "preference": 2.0,
    }
    other = {**judged, "instruction": "Q 1", "output_1": "Base 1", "output_2": "A 1", "preference": None}
    tie = {**judged, "instruction": "Q 2", "output_1": "Base 2", "output_2": "A 2", "preference": 0}
    (tmp_path / "annotations.json").write_text(
        json.dumps([judged, other, tie, {**tie, "annotator": "claude"}])
    )
    out = tmp_path / "out"
    found = import_files(
        "alpaca-eval", [tmp_path / "outputs.json", tmp_path / "annotations.json"], out, judge="gpt4"
    )
    assert (found["instructions"], found["answers"], found["verdicts"]) == (3, 5, 2)
    assert found["passed_over"] == {"a verdict of claude": 1, "no preference given": 1}
    pool = read_pool(out / "instructions.jsonl")
    RecordedEngine(out / "answers" / "my-model.jsonl", pool)  # every instruction is answered
    assert sorted(read_answers(out / "answers" / "base.jsonl").values()) == ["Base 0", "Base 2"]
    assert sorted(verdicts(out)) == [
        ("base", "my-model", 1, 10, False),
        ("base", "my-model", 5.5, 5.5, False),
    ]
    assert ReplayJudge(out / "verdicts.jsonl").both_orders is False
    assert sorted(b["winner"] for b in battles(out)) == ["model_b", "tie"]


def test_the_flat_tables_of_real_models_are_read(tmp_path):
    if not (SHARED / "alpaca_eval_responses.jsonl.gz").is_file():
        pytest.skip("no AlpacaEval tables beside the project")
    files = [
        "alpaca_eval_instructions.jsonl",
        "alpaca_eval_responses.jsonl.gz",
        "alpaca_eval_preferences.csv.gz",
    ]
    out = tmp_path / "out"
    found = import_files(
        "alpaca-eval", [SHARED / f for f in files], out, judge="weighted_alpaca_eval_gpt4_turbo"
    )
    assert (found["instructions"], found["contestants"], found["answers"]) == (805, 45, 36224)
    assert found["verdicts"] == 45875
    pool = read_pool(out / "instructions.jsonl")
    RecordedEngine(out / "answers" / "gpt4_1106_preview.jsonl", pool)
    result = rate(read_battles(out / "battles.jsonl"), RatingParams(bootstrap=0))
    assert len(result.ratings) == 58


def test_mt_bench_is_read_by_its_first_turns(tmp_path):
    lines(
        tmp_path / "question.jsonl",
        {"question_id": 81, "category": "writing", "turns": ["One", "Two"], "reference": ["R 1", "R 2"]},
    )
    answer = {"question_id": 81, "model_id": "vicuna", "choices": [{"index": 0, "turns": ["A 1", "A 2"]}]}
    lines(tmp_path / "model_answer" / "vicuna.jsonl", answer)
    judged = {
        "question_id": 81,
        "model_1": "vicuna",
        "model_2": "gpt",
        "judge": ["gpt-4", "pair-v2"],
        "turn": 1,
    }
    lines(
        tmp_path / "model_judgment" / "gpt-4_pair.jsonl",
        {**judged, "g1_winner": "model_1", "g2_winner": "tie"},
        {**judged, "turn": 2, "g1_winner": "model_2", "g2_winner": "model_2"},
        {**judged, "model_2": "llama", "g1_winner": "error", "g2_winner": "model_2"},
    )
    found = import_files("fastchat", [tmp_path], tmp_path / "out")
    (instruction,) = read_pool(tmp_path / "out" / "instructions.jsonl")
    assert (instruction.id, instruction.text, instruction.reference) == ("mt-81", "One", "R 1")
    assert read_answers(tmp_path / "out" / "answers" / "vicuna.jsonl") == {"mt-81": "A 1"}
    # In the second game model_2 stands first.
    assert verdicts(tmp_path / "out") == [
        ("gpt", "vicuna", 5.5, 5.5, True),
        ("llama", "vicuna", 10, 1, True),
        ("vicuna", "gpt", 10, 1, True),
    ]
    assert found["passed_over"] == {
        "a game that ended in 'error'": 1,
        "a judgment of a second turn": 1,
        "a second turn": 1,
        "an answer to a second turn": 1,
    }


def test_arena_votes_become_a_battle_log(tmp_path):
    vote = {"model_a": "x", "model_b": "y", "question_id": "q1", "conversation_a": []}
    rows = [{**vote, "winner": w} for w in ("model_a", "model_b", "tie", "tie (bothbad)", "skip")]
    (tmp_path / "votes.json").write_text(json.dumps(rows))
    found = import_files("fastchat", [tmp_path / "votes.json"], tmp_path / "out")
    assert sorted(b["winner"] for b in battles(tmp_path / "out")) == ["model_a", "model_b", "tie", "tie"]
    assert found["passed_over"] == {"a vote for 'skip'": 1}


def test_arena_hard_of_both_versions_is_read(tmp_path):
    lines(
        tmp_path / "question.jsonl",
        {"question_id": "q1", "category": "arena-hard-v0.1", "turns": [{"content": "One"}]},
        {"uid": "q2", "category": "hard_prompt", "prompt": "Two"},
    )
    lines(
        tmp_path / "answers.jsonl",
        {"question_id": "q1", "model_id": "m", "choices": [{"index": 0, "turns": [{"content": "A 1"}]}]},
        {
            "uid": "q2",
            "model": "m",
            "messages": [{"role": "user"}, {"role": "assistant", "content": {"answer": "A 2"}}],
        },
    )
    games = [{"score": "B>A"}, {"score": "A>>B"}]
    lines(
        tmp_path / "judgment.jsonl",
        {"question_id": "q1", "model": "m", "judge": "gpt-4", "games": games},
        {
            "uid": "q2",
            "model": "m",
            "judge": "gpt-4",
            "baseline": "o3",
            "games": [{"score": None}, {"score": "A=B"}],
        },
    )
    found = import_files("arena-hard", [tmp_path], tmp_path / "out")
    assert read_answers(tmp_path / "out" / "answers" / "m.jsonl") == {"q1": "A 1", "q2": "A 2"}
    assert verdicts(tmp_path / "out") == [
        ("gpt-4-0314", "m", 3.25, 7.75, True),
        ("m", "gpt-4-0314", 10, 1, True),
        ("m", "o3", 5.5, 5.5, True),
    ]
    assert found["passed_over"] == {"a game without a verdict": 1}


def test_any_table_is_read_by_its_columns(tmp_path):
    rows = [{"id": f"i{n}", "frage": f"Q {n}", "response": f"A {n}", "category": "c"} for n in range(3)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    found = import_files(
        "parquet",
        [tmp_path / "t.parquet"],
        tmp_path / "out",
        contestant="me",
        columns={"frage": "instruction"},
    )
    assert (found["instructions"], found["answers"]) == (3, 3)
    assert read_pool(tmp_path / "out" / "instructions.jsonl")[0].category == "c"
    packed = tmp_path / "v.csv.gz"
    packed.write_bytes(gzip.compress(b"model_a,model_b,winner,prompt_id\nx,y,Tie (bothbad),1\nx,y,A,2\n"))
    import_files("jsonl", [packed], tmp_path / "votes")
    assert [b["winner"] for b in battles(tmp_path / "votes")] == ["model_a", "tie"]


def test_a_conversation_ends_at_its_last_user_turn(tmp_path):
    turns = [
        {"role": r, "content": c}
        for r, c in (("user", "Hi"), ("assistant", "Ja"), ("user", "Q"), ("assistant", "A"))
    ]
    import_files("jsonl", [lines(tmp_path / "t.jsonl", {"id": "c1", "messages": turns})], tmp_path / "out")
    (instruction,) = read_pool(tmp_path / "out" / "instructions.jsonl")
    assert [t.content for t in instruction.turns] == ["Hi", "Ja", "Q"]


@pytest.mark.parametrize(
    ("kind", "name", "text", "what", "where"),
    [
        ("jsonl", "t.jsonl", '{"id": "a", "instruction": "x"}\n{"id": ', "not JSON", "t.jsonl, line 2"),
        (
            "jsonl",
            "t.jsonl",
            '{"id": "a", "instruction": "x"}\n[1]\n',
            "expected a JSON object",
            "t.jsonl, line 2",
        ),
        ("jsonl", "t.jsonl", '{"id": "a", "instruction": " "}\n', "turn 1 is empty", "t.jsonl, line 1"),
        (
            "jsonl",
            "t.jsonl",
            '{"id": "a", "text": "x"}\n',
            "no text in contestant or model",
            "t.jsonl, line 1",
        ),
        (
            "jsonl",
            "t.jsonl",
            '{"model_a": "a", "model_b": "b", "winner": "c"}\n',
            "'c' is unknown",
            "t.jsonl, line 1",
        ),
        (
            "jsonl",
            "t.jsonl",
            '{"id": "a", "model": "m", "text": "x"}\n{"id": "a", "model": "m", "text": "y"}\n',
            "two different",
            "t.jsonl, line 2",
        ),
        (
            "jsonl",
            "t.jsonl",
            '{"id": "a", "instruction": "x"}\n{"id": "a", "instruction": "y"}\n',
            "already used for another instruction",
            "t.jsonl, line 2",
        ),
        ("jsonl", "t.csv", "id,text,model\na,x\n", "not 3 columns", "t.csv, line 2"),
        ("parquet", "t.parquet", "PAR0", "not Parquet", "t.parquet"),
        ("jsonl", "t.txt", "x", "unknown file format", "t.txt"),
        (
            "alpaca-eval",
            "t.json",
            '{"output": "x", "instruction": "q"}',
            "no text in generator",
            "t.json, item 1",
        ),
        (
            "alpaca-eval",
            "t.csv",
            "judge,baseline,model,instruction_id,preference\nj,a,b,i,3\n",
            "not between 1 and 2",
            "t.csv, line 2",
        ),
        (
            "alpaca-eval",
            "t.csv",
            "judge,baseline,model,instruction_id,preference\nj,a,b,i,1\nk,a,b,i,2\n",
            "two different verdicts",
            "t.csv, line 3",
        ),
        (
            "fastchat",
            "t.jsonl",
            '{"question_id": 1, "model_id": "m", "choices": []}\n',
            "choices",
            "t.jsonl, line 1",
        ),
        (
            "arena-hard",
            "t.jsonl",
            '{"question_id": "q", "turns": [{}]}\n',
            "no text in content",
            "t.jsonl, line 1",
        ),
        ("fastchat", "t.jsonl", '{"a": 1}\n', "nothing found", ""),
        ("jsonl", "t.jsonl", "\xff", "not UTF-8", "t.jsonl"),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_nothing_is_written(tmp_path, kind, name, text, what, where):
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(ArenaError, match=what) as caught:
        import_files(kind, [tmp_path / name], tmp_path / "out")
    assert caught.value.where.endswith(where)
    assert not (tmp_path / "out").exists()


def test_a_missing_file_is_told(tmp_path):
    for kind in KINDS:
        with pytest.raises(ArenaError, match="no such file"):
            import_files(kind, [tmp_path / "none.jsonl"], tmp_path / "out")


def test_a_name_cannot_leave_the_folder(tmp_path):
    lines(tmp_path / "t.jsonl", {"id": "a", "model": "../../etc/x", "text": "x"})
    import_files("jsonl", [tmp_path / "t.jsonl"], tmp_path / "out")
    assert [p.name for p in (tmp_path / "out" / "answers").iterdir()] == ["etc-x.jsonl"]


def test_the_command_writes_and_says_what_it_found(tmp_path):
    from arena_learning.cli.import_ import command

    lines(tmp_path / "t.jsonl", {"id": "a", "instruction": "Q"})
    arguments = ["jsonl", str(tmp_path / "t.jsonl"), "--out", str(tmp_path / "out")]
    said = CliRunner().invoke(command, arguments)
    assert said.exit_code == 0, said.output
    assert "instructions: 1" in said.output
    assert json.loads(CliRunner().invoke(command, [*arguments, "--json"]).output)["instructions"] == 1
    assert CliRunner().invoke(command, [*arguments, "--column", "x"]).exit_code == 2


def test_names_in_other_scripts_stay_apart_and_half_a_character_is_replaced(tmp_path):
    rows = [
        {"id": "1", "instruction": "哪条河流经维也纳？", "model": "通义", "output": "多瑙河。"},
        {"id": "1", "instruction": "哪条河流经维也纳？", "model": "千问", "output": "莱茵河 \ud83d"},
        {"id": "1", "instruction": "哪条河流经维也纳？", "model": "Qwen 千问", "output": "\U0001f30a"},
    ]
    found = import_files("jsonl", [lines(tmp_path / "t.jsonl", *rows)], tmp_path / "out")
    assert found["contestants"] == 3
    texts = {f.stem: read_answers(f)["1"] for f in (tmp_path / "out" / "answers").iterdir()}
    assert sorted(texts.values()) == ["多瑙河。", "莱茵河 \ufffd", "\U0001f30a"]
    assert all(name.isascii() and name[0].isalnum() for name in texts)
    assert next(name for name, text in texts.items() if text == "\U0001f30a").startswith("Qwen-")


@pytest.mark.parametrize("name", ["t.jsonl", "t.json", "t.csv", "t.jsonl.gz"])
def test_a_file_that_is_not_utf8_is_named(tmp_path, name):
    raw = '[{"id": "1", "instruction": "Größe?", "output": "x", "model": "m"}]'.encode("latin-1")
    (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    with pytest.raises(ArenaError, match="not UTF-8") as caught:
        import_files("jsonl", [tmp_path / name], tmp_path / "out")
    assert caught.value.where == str(tmp_path / name)
    assert not (tmp_path / "out").exists()
