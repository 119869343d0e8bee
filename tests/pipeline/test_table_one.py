"""SFT-I0 to PPO-I3 by `dvc repro`, held against the paper's Table 1 row by row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

pytestmark = [pytest.mark.pipeline, pytest.mark.torch, pytest.mark.slow]


class Row(NamedTuple):
    """A row of Table 1 as the paper prints it."""

    model: str
    trained_from: str
    competitor: str
    data: str


# arXiv 2407.10627, Table 1; "-": SFT-I0 learns recorded answers and fights nobody.
TABLE = [
    Row("sft-i0", "base", "-", "D0"),
    Row("sft-i1", "base", "sft-i0", "D0 u D1"),
    Row("dpo-i1", "sft-i1", "sft-i1", "D2"),
    Row("ppo-i1", "dpo-i1", "dpo-i1", "D3"),
    Row("sft-i2", "base", "ppo-i1", "D0 u D1 u D4"),
    Row("dpo-i2", "sft-i2", "sft-i2", "D2 u D5"),
    Row("ppo-i2", "dpo-i2", "dpo-i2", "D3 u D6"),
    Row("sft-i3", "base", "ppo-i2", "D0 u D1 u D4 u D7"),
    Row("dpo-i3", "sft-i3", "sft-i3", "D2 u D5 u D8"),
    Row("ppo-i3", "dpo-i3", "dpo-i3", "D3 u D6 u D9"),
]


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def learnt(project: Path, model: str) -> list[dict]:
    name = "sft" if model.startswith("sft") else "preferences"
    return lines(project / "data" / "rounds" / model / f"{name}.jsonl")


@pytest.fixture(scope="module")
def split_of(project: Path) -> dict[str, str]:
    """The split of each instruction, as the paper writes it."""
    prepared = project / "data" / "prepared"
    return {row["id"]: f"D{n}" for n in range(10) for row in lines(prepared / f"d{n}.jsonl")}


@pytest.fixture(scope="module")
def lock(project: Path) -> dict[str, dict]:
    return yaml.safe_load((project / "dvc.lock").read_text(encoding="utf-8"))["stages"]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.model)
def test_the_rows_learnt_are_those_of_the_papers_splits(
    project: Path, split_of: dict[str, str], row: Row
) -> None:
    rows = learnt(project, row.model)
    splits = list(dict.fromkeys(split_of[r["provenance"]["instruction_id"]] for r in rows))
    assert " u ".join(splits) == row.data
    # Every row says the round it was made in, and stands in the accumulated file as it stood in that round's own.
    by_round: dict[str, list[dict]] = {}
    for r in rows:
        by_round.setdefault(r["provenance"]["round"], []).append(r)
    assert len(by_round) == len(splits)
    for name, own in by_round.items():
        assert [r for r in learnt(project, name) if r["provenance"]["round"] == name] == own
    other = "preferences" if row.model.startswith("sft") else "sft"
    assert lines(project / "data" / "rounds" / row.model / f"{other}.jsonl") == []


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.model)
def test_the_competitor_is_the_papers(project: Path, row: Row) -> None:
    folder = project / "data" / "rounds" / row.model
    who = {response["contestant"] for response in lines(folder / "responses.jsonl")}
    battles = lines(folder / "battles.jsonl")
    if row.competitor == "-":
        assert who == {"expert"}  # whose answers are the labels
        assert battles == []
        return
    assert who == {row.competitor, "expert", "plain"}
    # 3 instructions x 3 pairs; the rubric judge scores each answer alone, so no pair is played in both orders
    assert len(battles) == 9
    assert len(lines(folder / "games.jsonl")) == 9


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.model)
def test_training_starts_where_the_paper_starts_it(project: Path, lock: dict[str, dict], row: Row) -> None:
    maker = "weights" if row.trained_from == "base" else f"train@{row.trained_from}"
    made = {out["path"]: out["md5"] for out in lock[maker]["outs"]}
    used = {dep["path"]: dep["md5"] for dep in lock[f"train@{row.model}"]["deps"]}
    start = f"models/{row.trained_from}"
    assert used[start] == made[start]
    assert [path for path in used if path.startswith("models/")] == [start]
    report = json.loads(
        (project / "data" / "rounds" / row.model / "train_metrics.json").read_text(encoding="utf-8")
    )
    assert report["method"] == row.model[:3]
    assert report["weight_change"]["after_saving"] > 0
    phases = {phase["name"]: phase for phase in report["phases"]}
    assert list(phases) == (["reward", "ppo"] if row.model.startswith("ppo") else [row.model[:3]])
    given = len(learnt(project, row.model))
    assert {phase["rows"]["given"] for phase in phases.values()} == {given}
    # What is longer than the tiny model's context is dropped, and counted; something is always learnt.
    assert 0 < report["rows"] <= given


def test_all_ten_models_and_what_they_come_from_are_rated(project: Path) -> None:
    board = json.loads((project / "reports" / "leaderboard.json").read_text(encoding="utf-8"))
    names = {r["model"] for r in board["ratings"]}
    assert names == {"base", "expert", "plain", *(row.model for row in TABLE)}
    assert len({(project / "models" / r.model / "model.safetensors").read_bytes() for r in TABLE}) == len(
        TABLE
    )
