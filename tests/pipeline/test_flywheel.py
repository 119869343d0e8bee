"""What a finished flywheel of ten models is asked: ratings, reruns, the store, MLflow, mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.project import read_params, run, run_json, write_params
from sample import table_one

pytestmark = [pytest.mark.pipeline, pytest.mark.torch, pytest.mark.slow]

ROUNDS = table_one()


def test_every_round_is_trained_and_rated(project: Path) -> None:
    board = json.loads((project / "reports" / "leaderboard.json").read_text(encoding="utf-8"))
    assert {r["model"] for r in board["ratings"]} == {"base", "expert", "plain", *ROUNDS}
    base = next(r for r in board["ratings"] if r["model"] == "base")
    assert base["rating"] == pytest.approx(1000)
    assert board["gain"]["from"] == "base"
    assert board["gain"]["to"] == "ppo-i3"
    for name in ROUNDS:
        report = json.loads(
            (project / "data" / "rounds" / name / "train_metrics.json").read_text(encoding="utf-8")
        )
        assert report["rows"] > 0
        assert (project / "models" / name / "model.safetensors").is_file()


def test_every_round_has_its_monitors_and_none_that_does_not_apply(project: Path) -> None:
    board = json.loads((project / "reports" / "leaderboard.json").read_text(encoding="utf-8"))
    monitors = {one["model"]: one for one in board["monitors"]}
    assert list(monitors) == ["base", *ROUNDS]
    for name, one in monitors.items():
        assert one["mean_words"] is not None  # a tiny model may well say nothing
        is_ppo, fought = name.startswith("ppo"), name not in ("base", "sft-i0")
        assert all((one[key] is not None) == is_ppo for key in ("kl", "kl_max", "reward", "reward_change"))
        assert (one["unscored_rate"] is not None) == fought


def test_every_pair_is_played_once_under_a_judge_whose_scores_have_no_order(project: Path) -> None:
    games = _rows(project / "data" / "rounds" / "sft-i1" / "games.jsonl")
    # 3 instructions x 3 pairs of {sft-i0, expert, plain}; the rubric judge scores each answer alone
    pairs = {(g["instruction_id"], *sorted((str(g["first"]), str(g["second"])))) for g in games}
    assert len(games) == len(pairs) == 9


def test_every_instruction_is_a_row_or_has_a_reason(project: Path) -> None:
    for name in ROUNDS:
        card = json.loads((project / "data" / "rounds" / name / "card.json").read_text(encoding="utf-8"))
        assert card["instructions"] == card["rows_new"] + sum(card["left_out"].values()) == 3


def _ran(output: str) -> set[str]:
    return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")}


def test_a_second_repro_looks_at_the_inputs_and_runs_nothing_else(project: Path) -> None:
    assert _ran(run(project, "dvc", "repro")) == {"inputs"}


@pytest.mark.parametrize(
    ("file", "planned"),
    [
        ("data/pool.jsonl", {"prepare"}),
        (
            "data/opponents/expert.jsonl",
            {"prepare", "answer-opponent@expert", *(f"battle@{r}" for r in ROUNDS)},
        ),
        ("data/opponents/plain.jsonl", {"answer-opponent@plain", *(f"battle@{r}" for r in ROUNDS)}),
    ],
)
def test_an_edited_file_of_the_users_reruns_what_reads_it(
    project: Path, file: str, planned: set[str]
) -> None:
    path = project / file
    before = path.read_bytes()
    path.write_bytes(before + b"\n")
    try:
        run(project, "arena", "inputs")
        status = json.loads(run(project, "dvc", "status", "--json").splitlines()[-1])
    finally:
        path.write_bytes(before)
        run(project, "arena", "inputs")
    changed = {
        stage for stage, why in status.items() if stage != "inputs" and "data/inputs" in json.dumps(why)
    }
    assert changed == planned


def test_a_pool_of_ones_own_is_watched(project: Path) -> None:
    params = read_params(project)
    before = json.loads(json.dumps(params))
    own = project / "mine.jsonl"
    own.write_bytes((project / "data" / "pool.jsonl").read_bytes())
    params["pool"]["instructions"] = "mine.jsonl"
    write_params(project, params)
    try:
        assert _ran(run(project, "dvc", "repro", "prepare")) == {"inputs", "prepare"}
        assert _ran(run(project, "dvc", "repro", "prepare")) == {"inputs"}
        own.write_bytes(own.read_bytes() + b"\n")
        assert _ran(run(project, "dvc", "repro", "prepare")) == {"inputs", "prepare"}
    finally:
        write_params(project, before)
        run(project, "dvc", "repro", "prepare")


def test_a_new_threshold_reruns_the_dataset_and_what_follows_but_judges_nothing(project: Path) -> None:
    params = read_params(project)
    before = json.loads(json.dumps(params))
    params["rounds"]["dpo-i1"]["threshold"] = 1.0
    write_params(project, params)
    try:
        output = run(project, "dvc", "repro", "--dry")
    finally:
        write_params(project, before)
    planned = _ran(output)
    assert "dataset@dpo-i1" in planned
    assert not {"battle@dpo-i1", "judge@dpo-i1"} & planned
    assert not {stage for stage in planned if stage.endswith("@sft-i1")}


def test_track_and_show_read_what_was_made(project: Path) -> None:
    run(project, "arena", "track", "--strict")
    assert (project / "mlruns" / "mlflow.db").is_file()
    text = run(project, "arena", "leaderboard", "--print")
    assert "ppo-i3" in text
    assert "Monitors by round" in text
    assert "not separated" in text or "gain" in text or "fall" in text
    assert run(project, "arena", "show", "round", "sft-i1")


def test_answering_again_from_the_store_pays_nothing(project: Path) -> None:
    assert run_json(project, "arena", "battle", "sft-i1", "--json")["generated"] == 0


def test_a_mistake_in_the_pool_stops_before_anything_runs(project: Path) -> None:
    pool = project / "data" / "pool.jsonl"
    text = pool.read_text(encoding="utf-8")
    lines = text.splitlines()
    pool.write_text("\n".join([*lines[:3], lines[3][:-5], *lines[4:]]) + "\n", encoding="utf-8")
    try:
        output = run(project, "arena", "prepare", code=2)
    finally:
        pool.write_text(text, encoding="utf-8")
    assert "pool.jsonl, line 4" in output
    assert "Traceback" not in output


def _rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
