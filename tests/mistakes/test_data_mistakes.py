"""Mistakes in instructions, recorded answers, labels and battle logs."""

from __future__ import annotations

import json

import pytest

from mistakes.hour import COUNT, Hour

POOL, STRONG = "data/pool.jsonl", "data/opponents/strong.jsonl"
PROMPTS = [f"Why is number {n} like that?" for n in range(40)]
INIT = "arena init project --judge m@http://localhost:1/v1 --opponent far=m@http://localhost:1/v1 --pool"


def csv(name: str = "prompt", letters: str = "") -> str:
    return "\n".join([name, *(f"{p}{letters}" for p in PROMPTS)]) + "\n"


def test_a_pool_without_rubrics_under_the_rubric_judge(hour: Hour) -> None:
    rows = hour.rows(POOL)
    hour.write_rows(POOL, [{key: value for key, value in row.items() if key != "rubric"} for row in rows])
    for command in ("arena rounds check", "arena repro --dry"):
        hour.fails(
            command,
            "no instruction of data/pool.jsonl has a rubric, and judge 'rubric' (judge.name) scores by it",
            "give the instructions a list `rubric`, or name another judge in judge.name",
        )
    big = {"kind": "llm", "engine": "openai", "model": "m", "base_url": "http://localhost:1/v1"}
    hour.set(lambda p: p["judges"].update(big=big))
    hour.set(lambda p: p["judge"].update(name="big"))
    hour.fails("arena rounds check", "judge 'rubric' (evaluate.judges)")
    hour.set(lambda p: p["evaluate"].update(judges=["big"]))
    hour.works("arena rounds check")


def test_an_answer_file_with_other_ids(hour: Hour) -> None:
    answers = hour.rows(STRONG)
    hour.write_rows(STRONG, [{**row, "id": f"q{n}"} for n, row in enumerate(answers)])
    hour.works("arena prepare")
    hour.fails(
        "arena answer strong",
        "strong.jsonl",
        "no answer to",
        answers[0]["id"].split("-")[0],
        "the file answers q0",
        "the ids of the instructions",
    )
    hour.write_rows(STRONG, answers)
    hour.works("arena answer strong")


def test_a_missing_file_of_answers(hour: Hour) -> None:
    hour.works("arena prepare")
    (hour.root / STRONG).rename(hour.root / "moved.jsonl")
    hour.fails(
        "arena answer strong",
        "data/opponents/strong.jsonl",
        "no such file of recorded answers",
        "correct the path",
    )
    hour.replace(STRONG, "moved.jsonl")
    hour.works("arena answer strong")


def test_answers_under_another_key(hour: Hour) -> None:
    answers = hour.rows(STRONG)
    hour.write_rows(STRONG, [{"id": row["id"], "output": row["text"]} for row in answers])
    hour.works("arena prepare")
    hour.fails("arena answer strong", "strong.jsonl, line 1", "text", '{"id": ..., "text": ...}')
    hour.write_rows(STRONG, answers)
    hour.works("arena answer strong")


def test_an_answer_given_twice(hour: Hour) -> None:
    answers = hour.rows(STRONG)
    hour.write_rows(STRONG, [*answers, answers[0]])
    hour.works("arena prepare")
    hour.fails("arena answer strong", f"line {len(answers) + 1}", "answered twice", "keep one")
    hour.write_rows(STRONG, answers)
    hour.works("arena answer strong")


def test_an_id_used_twice(hour: Hour) -> None:
    rows = hour.rows(POOL)
    rows[3]["id"] = rows[1]["id"]
    hour.write_rows(POOL, rows)
    hour.fails("arena prepare", "pool.jsonl, line 4", repr(rows[1]["id"]), "line 2", "its own id")
    rows[3]["id"] = "another"
    hour.write_rows(POOL, rows)
    hour.works("arena prepare")


def test_an_empty_pool(hour: Hour) -> None:
    before = hour.read(POOL)
    hour.write(POOL, "")
    hour.fails("arena prepare", "pool.jsonl", "no instructions", "a line each")
    hour.write(POOL, before)
    hour.works("arena prepare")


def test_no_pool_where_params_yaml_says(hour: Hour) -> None:
    hour.replace(POOL, "data/pol.jsonl")
    said = hour.fails("arena prepare", "data/pol.jsonl", "no such file")
    hour.replace("pol.jsonl", said.meant)
    hour.works("arena prepare")


def test_a_json_list_under_the_name_of_json_lines(hour: Hour) -> None:
    rows = hour.rows(POOL)
    hour.write(POOL, json.dumps(rows, indent=1))
    hour.fails("arena prepare", "pool.jsonl, line 1", "a JSON list", ".json")
    (hour.root / POOL).rename(hour.root / "data/pool.json")
    hour.replace("data/pool.jsonl", "data/pool.json")
    hour.works("arena prepare")


def test_a_line_that_is_cut(hour: Hour) -> None:
    text = hour.read(POOL)
    hour.write(POOL, text[:-30])
    hour.fails("arena prepare", f"pool.jsonl, line {COUNT}", "not JSON", "pool.strict: false")
    hour.replace("  instructions:", "  strict: false\n  instructions:")
    hour.works("arena prepare")


def test_a_pool_smaller_than_the_splits(hour: Hour) -> None:
    hour.set(lambda p: p["pool"]["splits"].update(d1=50))
    hour.fails("arena prepare", "instructions left for 'd1', which needs 50", "make the splits smaller")
    hour.set(lambda p: p["pool"]["splits"].update(d1=5))
    hour.works("arena prepare")


def test_a_table_with_another_name_of_the_column(bare: Hour) -> None:
    bare.write("prompts.csv", csv("frage"))
    said = bare.fails(
        f"{INIT} prompts.csv", "prompts.csv", "no instructions", "frage", "--column frage=instruction"
    )
    bare.works(said.command)
    bare.works(f"{INIT} imported/instructions.jsonl", "params.yaml")


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le"])
def test_a_table_in_another_encoding(bare: Hour, encoding: str) -> None:
    bare.write("prompts.csv", csv(letters=" Größe").encode(encoding))
    said = bare.fails(f"{INIT} prompts.csv", "prompts.csv", "not UTF-8", "save it as UTF-8")
    assert said.hint == "save it as UTF-8\n"
    bare.write("prompts.csv", csv(letters=" Größe"))
    bare.works(f"{INIT} prompts.csv")
    assert "Größe" in bare.read("project/data/pool.jsonl")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_table_with_a_byte_order_mark_is_read(bare: Hour, encoding: str) -> None:
    bare.write("prompts.csv", csv(letters=" Größe").encode(encoding))
    bare.works(f"{INIT} prompts.csv")
    assert "Größe" in bare.read("project/data/pool.jsonl")


def test_a_spreadsheet_instead_of_a_table(bare: Hour) -> None:
    bare.write("prompts.xlsx", b"PK\x03\x04")
    said = bare.fails(f"{INIT} prompts.xlsx", "prompts.xlsx", "csv")
    assert "CSV" in said.hint or "csv" in said.hint


def test_no_opponent_for_prompts_alone(bare: Hour) -> None:
    bare.write("prompts.csv", csv())
    bare.fails("arena init project --judge m@http://localhost:1/v1 --pool prompts.csv", "--pool", "no opponent", "--opponent NAME=ANSWERS.jsonl")  # fmt: skip
    bare.works(f"{INIT} prompts.csv")


def test_no_judge_for_prompts_without_rubrics(bare: Hour) -> None:
    bare.write("prompts.csv", csv())
    bare.fails("arena init project --pool prompts.csv --opponent far=m@http://localhost:1/v1", "neither rubrics nor references", "--judge MODEL@URL")  # fmt: skip
    bare.works(f"{INIT} prompts.csv")


def test_too_few_prompts(bare: Hour) -> None:
    bare.write("prompts.csv", "prompt\nWhy?\n")
    bare.fails(f"{INIT} prompts.csv", "has 1 instruction", "--pool", "add instructions")
    bare.write("prompts.csv", csv())
    bare.works(f"{INIT} prompts.csv")


LOG = "model_a,model_b,winner\nx,y,model_a\ny,x,model_a\nx,y,tie\n"


def test_a_battle_log_with_another_name_of_a_column(bare: Hour) -> None:
    bare.write("log.csv", LOG.replace("winner", "winer"))
    said = bare.fails("arena rate log.csv", "log.csv", "no column 'winner'")
    bare.replace("winer", "winner", "log.csv")
    assert said.meant == "winer"
    bare.works("arena rate log.csv")


def test_a_battle_log_with_an_unknown_winner(bare: Hour) -> None:
    bare.write("log.csv", LOG.replace("tie", "nobody-knows"))
    bare.fails("arena rate log.csv", "row 3 (line 4)", "'nobody-knows'", "--skip-bad")
    bare.works("arena rate log.csv --skip-bad --bootstrap 50")


def test_a_battle_log_that_is_not_there(bare: Hour) -> None:
    bare.write("votes.csv", LOG)
    said = bare.fails("arena rate vote.csv", "vote.csv", "no such file")
    bare.works(f"arena rate {said.meant} --bootstrap 50")


PAIR = {"id": "p1", "instruction": "Why?", "response_a": "Because.", "response_b": "So.", "label": "model_a"}


def test_no_labels_for_an_audit(hour: Hour) -> None:
    said = hour.fails("arena audit-judge labels.jsonl --judge rubric", "labels.jsonl", "no such file")
    assert "label" in said.hint


def test_a_label_that_is_none(hour: Hour) -> None:
    hour.write_rows("labels.jsonl", [{**PAIR, "label": "frist"}])
    hour.fails("arena audit-judge labels.jsonl", "labels.jsonl, line 1", "label", "model_a")


def test_a_file_of_another_kind_to_import(bare: Hour) -> None:
    bare.write("prompts.csv", csv())
    said = bare.fails("arena import jsonls prompts.csv --out there", "jsonls")
    assert "jsonl" in said.err
    bare.works("arena import jsonl prompts.csv --out there")
