"""Runs in a real MLflow store: written once, left alone, superseded, rebuilt, moved."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from arena_files import card

from arena_learning.core.json_files import read_json, write_json, write_text
from arena_learning.core.paths import Paths
from arena_learning.tracking import track_project
from arena_learning.tracking.mlflow_store import opened

ALL = ["flywheel", "sft-i1", "sft-i1 training", "dpo-i1", "dpo-i1 training", "ppo-i1", "ppo-i1 training"]


def runs(paths: Paths) -> dict:
    """Return the live runs by title."""
    with opened(paths) as store:
        found = store.client.search_runs([store.experiment], max_results=100)
    titles = [run.info.run_name for run in found]
    assert len(titles) == len(set(titles))
    return {run.info.run_name: run for run in found}


def ids(paths: Paths) -> dict[str, str]:
    return {title: run.info.run_id for title, run in runs(paths).items()}


def test_a_flywheel_holds_its_rounds_and_each_round_its_training(project):
    params, paths = project
    report = track_project(params, paths)
    assert (report.logged, report.unchanged, report.warnings, report.failed) == (ALL, [], [], False)
    found = runs(paths)
    parents = {title: run.data.tags.get("mlflow.parentRunId") for title, run in found.items()}
    assert parents["flywheel"] is None
    assert parents["dpo-i1"] == found["flywheel"].info.run_id
    assert parents["dpo-i1 training"] == found["dpo-i1"].info.run_id


def test_a_round_shows_board_data_monitors_and_cost(shown):
    _, paths = shown
    found = runs(paths)
    metrics = found["ppo-i1"].data.metrics
    assert metrics["monitor/kl"] == 0.2
    assert metrics["monitor/reward_change"] == 1.5
    assert metrics["seconds/train"] == 10.0
    run = found["dpo-i1"]
    assert run.data.metrics["elo/rubric"] == 1080
    assert run.data.params["round.threshold"] == "2.0"
    assert len(run.data.params) < 40
    assert [i.dataset.name for i in run.inputs.dataset_inputs] == ["dpo-i1 d2", "dpo-i1 rows"]
    assert all(len(i.dataset.digest) == 32 for i in run.inputs.dataset_inputs)
    # 5 s of answers, 1 s of verdicts, 10 s of training.
    assert run.info.end_time - run.info.start_time == 16_000


def test_metrics_of_the_flywheel_are_stepped_by_round(shown):
    _, paths = shown
    flywheel = ids(paths)["flywheel"]
    with opened(paths) as store:
        elo = store.client.get_metric_history(flywheel, "elo/rubric")
        rows = store.client.get_metric_history(flywheel, "data/rows")
    assert [(m.step, m.value) for m in elo] == [(-1, 1000), (0, 1050), (1, 1080)]
    assert [(m.step, m.value) for m in rows] == [(0, 1), (1, 1), (2, 1)]


def test_the_training_curve_is_stepped_and_named_by_phase(shown):
    _, paths = shown
    with opened(paths) as store:
        kl = store.client.get_metric_history(ids_in(store)["ppo-i1 training"], "ppo/kl")
        loss = store.client.get_metric_history(ids_in(store)["ppo-i1 training"], "reward/loss")
    assert [(m.step, m.value) for m in kl] == [(1, 0.5), (2, 0.2)]
    assert [(m.step, m.value) for m in loss] == [(1, 2.0), (2, 1.5)]


def ids_in(store) -> dict[str, str]:
    return {run.info.run_name: run.info.run_id for run in store.client.search_runs([store.experiment])}


def test_tables_and_files_are_artifacts(shown):
    import mlflow

    _, paths = shown
    run = runs(paths)["sft-i1"]
    with opened(paths) as store:
        top = {f.path for f in store.client.list_artifacts(run.info.run_id)}
        tables = {f.path for f in store.client.list_artifacts(run.info.run_id, "tables")}
        place = Path(store.client.download_artifacts(run.info.run_id, "tables/battles.json"))
    assert top == {"card.json", "figures", "tables"}
    assert tables == {"tables/battles.json", "tables/elo.json"}
    battles = read_json(place)
    first = dict(zip(battles["columns"], battles["data"][0], strict=True))
    assert (first["answer_a"], first["rationale"], first["score_b"]) == ("base says", "better", 8.0)
    assert "tables/elo.json" in run.data.tags["mlflow.loggedArtifacts"]
    assert mlflow.active_run() is None


def test_the_model_is_a_logged_model_with_its_weights_digest_and_rating(shown):
    _, paths = shown
    with opened(paths) as store:
        models = {m.name: m for m in store.client.search_logged_models([store.experiment])}
    assert sorted(models) == ["dpo-i1", "sft-i1"]
    model = models["sft-i1"]
    assert model.tags["arena.path"] == "models/sft-i1"
    assert len(model.tags["arena.weights_sha256"]) == 64
    assert {m.key: m.value for m in model.metrics}["elo/rubric"] == 1050
    assert str(model.status) == "READY"


def test_tracking_twice_changes_nothing(tracked):
    params, paths = tracked
    before = ids(paths)
    report = track_project(params, paths)
    assert (report.logged, report.unchanged, report.removed) == ([], ALL, [])
    assert ids(paths) == before


def test_a_changed_file_supersedes_its_round_and_the_flywheel_only(tracked):
    params, paths = tracked
    before = ids(paths)
    write_json(paths.card("dpo-i1"), card("dpo-i1", "dpo", 2.0) | {"rows": 7})
    report = track_project(params, paths)
    assert report.logged == ["flywheel", "dpo-i1"]
    now = runs(paths)
    stayed = {title for title in before if before[title] == now[title].info.run_id}
    assert stayed == set(ALL) - {"flywheel", "dpo-i1"}
    assert now["dpo-i1"].data.tags["arena.supersedes"] == before["dpo-i1"]
    assert now["dpo-i1"].data.metrics["data/rows"] == 7
    # Those that stayed stand below the new ones.
    assert now["sft-i1"].data.tags["mlflow.parentRunId"] == now["flywheel"].info.run_id
    assert now["dpo-i1 training"].data.tags["mlflow.parentRunId"] == now["dpo-i1"].info.run_id
    with opened(paths) as store:
        models = [m.name for m in store.client.search_logged_models([store.experiment])]
    assert sorted(models) == ["dpo-i1", "sft-i1"]


def test_rebuild_writes_all_anew_from_the_files(tracked):
    params, paths = tracked
    before = ids(paths)
    report = track_project(params, paths, rebuild=True)
    now = ids(paths)
    assert report.logged == ALL
    assert now.keys() == before.keys()
    assert not set(now.values()) & set(before.values())


def test_a_run_that_was_cut_off_is_written_anew(tracked):
    params, paths = tracked
    cut_off = ids(paths)["sft-i1"]
    with opened(paths) as store:
        store.client.delete_tag(cut_off, "arena.digest")
    report = track_project(params, paths)
    assert report.logged == ["sft-i1"]
    assert ids(paths)["sft-i1"] != cut_off


def test_runs_whose_files_are_gone_go_too(tracked):
    params, paths = tracked
    shutil.rmtree(paths.round("ppo-i1"))
    report = track_project(params, paths)
    assert sorted(report.removed) == ["ppo-i1", "ppo-i1 training"]
    assert set(ids(paths)) == set(ALL) - {"ppo-i1", "ppo-i1 training"}


def test_other_parameters_make_another_flywheel_beside_the_first(tracked):
    params, paths = tracked
    track_project(params.model_copy(update={"seed": 7}), paths)
    with opened(paths) as store:
        titles = [run.info.run_name for run in store.client.search_runs([store.experiment])]
    assert titles.count("flywheel") == 2


def test_a_dvc_experiment_has_its_own_flywheel_in_the_original_store(tracked, tmp_path, monkeypatch):
    params, paths = tracked
    copied = Paths(tmp_path / "copy")
    shutil.copytree(paths.root, copied.root, ignore=shutil.ignore_patterns("mlruns"))
    monkeypatch.setenv("DVC_ROOT", str(paths.root))
    monkeypatch.setenv("DVC_EXP_NAME", "k'2")
    report = track_project(params, copied)
    assert (report.logged, report.failed) == (["k'2", *ALL[1:]], False)
    assert not (copied.root / "mlruns").exists()


def test_rounds_that_are_not_evaluated_yet_show_what_there_is(project):
    params, paths = project
    paths.leaderboard.unlink()
    paths.stage_metrics("ppo-i1", "train").unlink()
    report = track_project(params, paths)
    assert report.logged == ALL[:-1]
    assert "elo/rubric" not in runs(paths)["sft-i1"].data.metrics


def test_a_moved_clone_finds_its_artifacts_and_runs(tracked):
    params, paths = tracked
    before = ids(paths)
    moved = Paths(paths.root.with_name("moved"))
    paths.root.rename(moved.root)
    report = track_project(params, moved)
    assert report.logged == []
    assert ids(moved) == before
    with opened(moved) as store:
        place = store.client.download_artifacts(before["sft-i1"], "tables/elo.json")
        uri = store.client.get_run(before["sft-i1"]).info.artifact_uri
    assert str(moved.root) in uri
    assert read_json(Path(place))["data"]


def test_a_lost_store_is_filled_again(tracked, template):
    """The copy's database was not opened here before: MLflow holds one to the end of the process."""
    params, paths = tracked
    shutil.rmtree(paths.mlruns)
    shutil.copytree(template, paths.mlruns)  # spares the seconds of the schema
    report = track_project(params, paths)
    assert report.logged == ALL


@pytest.mark.slow
def test_two_processes_at_once_write_each_run_once(project, at_once):
    """The store itself was made by two processes at once, too: see the fixture."""
    _, paths = project
    errors = at_once("from arena_learning.cli.track import command; command()", paths.root)
    assert errors == ["", ""]
    assert sorted(runs(paths)) == sorted(ALL)


def test_a_malformed_file_leaves_the_store_as_it_was(tracked):
    params, paths = tracked
    before = ids(paths)
    write_text(paths.card("sft-i1"), "{")
    write_json(paths.card("dpo-i1"), card("dpo-i1", "dpo", 2.0) | {"rows": 7})
    report = track_project(params, paths)
    assert report.failed
    assert "card.json: not JSON" in report.warnings[0]
    assert ids(paths) == before


@pytest.mark.parametrize(
    ("ran", "asked", "said"),
    [
        ({"epochs": 1.0, "frozen_layers": 0.5}, 0.0, ["frozen_layers 0.5, params.yaml says 0"]),
        ({"epochs": 1.0}, 0.5, ["frozen_layers 0, params.yaml says 0.5"]),  # made before there was the key
        ({"epochs": 1.0}, 0.0, []),
        ({}, 0.5, []),  # not trained yet
    ],
)
def test_a_key_that_came_later_is_compared_by_its_old_value(project, ran, asked, said):
    params, paths = project
    metrics = paths.stage_metrics("dpo-i1", "train")
    write_json(metrics, read_json(metrics) | {"settings": ran})
    dpo = params.train.dpo.model_copy(update={"epochs": 1.0, "frozen_layers": asked})
    params = params.model_copy(update={"train": params.train.model_copy(update={"dpo": dpo})})
    told = track_project(params, paths).warnings
    assert [line for line in told if "frozen_layers" in line] == [
        f"train@dpo-i1 ran with {one}: run `arena repro`" for one in said
    ]


def test_files_made_with_other_parameters_are_named(project):
    params, paths = project
    write_json(paths.card("dpo-i1"), card("dpo-i1", "dpo", 1.5))
    report = track_project(params, paths)
    assert report.warnings == [
        "dataset@dpo-i1 ran with threshold 1.5, params.yaml says 2.0: run `arena repro`"
    ]
