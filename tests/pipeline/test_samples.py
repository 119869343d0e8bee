"""Rounds that learn from the target's own samples, by a real `dvc repro`: drawn, ranked, paired, learnt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.project import make_project, read_params, run, run_json, write_params
from tiny import build_tiny_model

pytestmark = [pytest.mark.pipeline, pytest.mark.torch, pytest.mark.slow]

SAMPLES, GAMES, INSTRUCTIONS = 4, 2, 6
KEYS = ("index", "method", "split", "target", "init", "threshold", "adds_to", "labels")
ROUNDS = {
    name: dict(zip(KEYS, row, strict=True))
    for name, row in {
        "sft-i1": (0, "sft", "d1", "base", "base", 0.0, "none", "none"),
        "dpo-i1": (1, "dpo", "d2", "base", "base", 0.1, "none", "none"),
        "rft-i1": (2, "rft", "d3", "base", "base", 0.0, "none", "none"),
    }.items()
}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project after its first `dvc repro`; its base says anything, and ends about half of its answers."""
    root = tmp_path_factory.mktemp("samples")
    base = build_tiny_model(tmp_path_factory.mktemp("tiny") / "model", tied=False)
    splits = {split: INSTRUCTIONS if split != "d1" else 2 for split in ("d1", "d2", "d3")}
    make_project(root, base, rounds=ROUNDS, splits=splits, test=3)
    params = read_params(root)
    params["sampling"]["max_tokens"] = 200
    params["battle"] |= {"samples": SAMPLES, "sample_games": GAMES}
    params["dataset"]["pairs"] = "samples"
    params["judges"]["longer"] = {
        "kind": "longer"
    }  # compares two answers, and needs no rubric to tell them apart
    params["judge"]["name"] = "longer"
    params["train"]["rft"] = params["train"]["sft"]
    params["train"]["dpo"] |= {"loss": "apo_zero"}
    write_params(root, params)
    told = run(root, "dvc", "repro", timeout=560)
    assert f"dpo-i1: {SAMPLES * INSTRUCTIONS} samples, {SAMPLES} to each instruction" in told
    games = SAMPLES * GAMES * INSTRUCTIONS  # each meets GAMES others, a meeting is two games of two
    assert f"dpo-i1: {SAMPLES * INSTRUCTIONS} samples, {games} games under longer v1" in told
    return root


@pytest.mark.parametrize("name", ["dpo-i1", "rft-i1"])
def test_samples_are_drawn_and_ranked_beside_the_battles(sampled: Path, name: str) -> None:
    folder = sampled / "data" / "rounds" / name
    drawn, scores = lines(folder / "samples.jsonl"), lines(folder / "sample_scores.jsonl")
    assert len(drawn) == len(scores) == SAMPLES * INSTRUCTIONS
    assert {row["sample"] for row in drawn} == set(range(1, SAMPLES + 1))
    assert len({row["text"] for row in drawn}) == len(drawn)  # no two are drawn alike
    assert {row["contestant"] for row in drawn} == {"base"}
    assert all(row["battles"] == GAMES and row["score"] for row in scores)
    assert not any("sample" in row for row in lines(folder / "responses.jsonl"))
    assert {row["a"] for row in lines(folder / "battles.jsonl")} == {"base", "expert"}  # three play all
    judged = json.loads((folder / "judge_metrics.json").read_text(encoding="utf-8"))["samples"]
    assert judged["worst_score"] < judged["mean_score"] < judged["best_score"]


def test_a_round_that_learns_from_battles_draws_none(sampled: Path) -> None:
    folder = sampled / "data" / "rounds" / "sft-i1"
    assert (folder / "samples.jsonl").read_bytes() == (folder / "sample_scores.jsonl").read_bytes() == b""


@pytest.mark.parametrize(("name", "file"), [("dpo-i1", "preferences.jsonl"), ("rft-i1", "sft.jsonl")])
def test_rows_are_the_best_samples_and_every_instruction_is_accounted_for(
    sampled: Path, name: str, file: str
) -> None:
    folder = sampled / "data" / "rounds" / name
    texts = {
        (row["instruction_id"], row["sample"]): row["text"].strip() for row in lines(folder / "samples.jsonl")
    }
    ended = {
        (row["instruction_id"], row["sample"])
        for row in lines(folder / "samples.jsonl")
        if row["finish_reason"] == "stop"
    }
    rows = lines(folder / file)
    assert rows
    for row in rows:
        told = row["provenance"]
        best = told["instruction_id"], told["winner_sample"]
        learnt = row["completion"] if name == "rft-i1" else row["chosen"]
        assert learnt[0]["content"] == texts[best]
        assert best in ended
        if name == "dpo-i1":
            assert row["rejected"][0]["content"] == texts[told["instruction_id"], told["loser_sample"]]
            assert told["gap"] == pytest.approx(told["score_winner"] - told["score_loser"])
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    assert card["rows_new"] == len(rows)
    assert card["instructions"] == card["rows_new"] + sum(card["left_out"].values()) == INSTRUCTIONS
    assert card["samples"] == {"scored": SAMPLES * INSTRUCTIONS, "unscored": 0}


def test_both_methods_train_and_are_rated(sampled: Path) -> None:
    for name, phase in (("dpo-i1", "dpo"), ("rft-i1", "rft")):
        report = json.loads(
            (sampled / "data" / "rounds" / name / "train_metrics.json").read_text(encoding="utf-8")
        )
        assert [one["name"] for one in report["phases"]] == [phase]
        assert report["rows"] > 0
        assert report["weight_change"]["after_saving"] > 0
    board = json.loads((sampled / "reports" / "leaderboard.json").read_text(encoding="utf-8"))
    assert {"dpo-i1", "rft-i1"} <= {row["model"] for row in board["ratings"]}


def test_a_rerun_asks_and_judges_nothing_and_writes_the_same_bytes(sampled: Path) -> None:
    folder = sampled / "data" / "rounds" / "dpo-i1"
    files = [folder / "samples.jsonl", folder / "sample_scores.jsonl", folder / "responses.jsonl"]
    before = [file.read_bytes() for file in files]
    assert run_json(sampled, "arena", "battle", "dpo-i1", "--json")["generated"] == 0
    run(sampled, "arena", "judge", "dpo-i1")
    assert [file.read_bytes() for file in files] == before
    assert run_json(sampled, "arena", "battle", "dpo-i1", "--fresh", "--json")["generated"] > 0
    assert [file.read_bytes() for file in files] == before  # drawn again, by the same seeds


def test_other_pairs_rerun_what_they_change(sampled: Path) -> None:
    params = read_params(sampled)
    params["dataset"]["pairs"] = "target"
    write_params(sampled, params)
    told = run(sampled, "dvc", "repro", "dataset@dpo-i1", "dataset@rft-i1")
    folder = sampled / "data" / "rounds"
    assert (folder / "dpo-i1" / "samples.jsonl").read_bytes() == b""
    assert len(lines(folder / "rft-i1" / "samples.jsonl")) == SAMPLES * INSTRUCTIONS
    assert "judge@rft-i1' didn't change" in told  # its samples are those of before
    card = json.loads((folder / "dpo-i1" / "card.json").read_text(encoding="utf-8"))
    assert "samples" not in card
