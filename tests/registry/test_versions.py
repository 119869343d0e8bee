"""The decisions in MLflow's model registry: versions, aliases, and all of it made again from registry.json."""

from __future__ import annotations

import shutil

import pytest
from gate_project import write_answers

from arena_learning.core import ArenaError
from arena_learning.core.paths import Paths
from arena_learning.leaderboard.ratings import make_leaderboard
from arena_learning.registry import promote, roll_back
from arena_learning.tracking import track_project
from arena_learning.tracking.mlflow_store import opened

NAME = "arena-learning"


def shown(paths: Paths) -> tuple[dict[str, str], dict[str, dict]]:
    """Return the round of each alias, and each version's tags by number."""
    with opened(paths) as store:
        found = store.client.search_model_versions(f"name = '{NAME}'")
        model = store.client.get_registered_model(NAME)
        versions = {str(version.version): version for version in found}
        aliases = {
            alias: versions[str(number)].tags["arena.round"] for alias, number in model.aliases.items()
        }
    return aliases, {str(number): {**one.tags, "source": one.source} for number, one in versions.items()}


def test_a_promoted_model_is_a_version_with_both_aliases_that_points_to_its_folder(stored):
    params, paths = stored
    promote("sft-i1", params, paths)
    report = track_project(params, paths)
    assert (report.failed, report.warnings) == (False, [])
    assert report.versions == {"candidate": f"{NAME}/1", "champion": f"{NAME}/1"}
    aliases, versions = shown(paths)
    assert aliases == {"candidate": "sft-i1", "champion": "sft-i1"}
    assert versions["1"]["source"] == str(paths.model("sft-i1"))
    assert versions["1"]["arena.verdict"] == "promoted"
    assert not list(paths.mlruns.rglob("*.safetensors"))


def test_a_refused_model_is_the_candidate_with_its_reason_and_the_champion_stays(stored):
    params, paths = stored
    promote("sft-i1", params, paths)
    write_answers(paths, "dpo-i1", more=" and so on" * 40)
    make_leaderboard(params, paths)
    promote("dpo-i1", params, paths)
    track_project(params, paths)
    aliases, versions = shown(paths)
    assert aliases == {"candidate": "dpo-i1", "champion": "sft-i1"}
    assert versions["2"]["arena.verdict"] == "refused"
    assert "times as many" in versions["2"]["arena.reason"]


def test_a_rollback_moves_the_alias_and_without_a_champion_there_is_none(stored):
    params, paths = stored
    promote("sft-i1", params, paths)
    promote("dpo-i1", params, paths)
    roll_back("", paths)
    track_project(params, paths)
    assert shown(paths)[0] == {"candidate": "dpo-i1", "champion": "sft-i1"}
    roll_back("", paths)
    track_project(params, paths)
    assert shown(paths)[0] == {"candidate": "dpo-i1"}


def test_a_lost_store_is_filled_again_from_the_decisions(stored, empty_store):
    params, paths = stored
    promote("sft-i1", params, paths)
    promote("dpo-i1", params, paths)
    roll_back("", paths)
    track_project(params, paths)
    before = shown(paths)
    shutil.rmtree(paths.mlruns)
    shutil.copytree(empty_store, paths.mlruns)
    track_project(params, paths)
    assert shown(paths) == before
    track_project(params, paths, rebuild=True)
    assert shown(paths) == before


def test_what_is_right_already_is_left_alone(stored):
    params, paths = stored
    promote("sft-i1", params, paths)
    track_project(params, paths)
    with opened(paths) as store:
        store.client.set_model_version_tag(NAME, "1", "mine", "kept")
    track_project(params, paths)
    assert shown(paths)[1]["1"]["mine"] == "kept"
    promote("dpo-i1", params, paths)
    track_project(params, paths)
    assert set(shown(paths)[1]) == {"1", "2"}


def test_without_decisions_there_is_no_registered_model(stored):
    params, paths = stored
    promote("sft-i1", params, paths)
    track_project(params, paths)
    paths.registry.unlink()
    assert track_project(params, paths).versions == {}
    with opened(paths) as store:
        assert [model.name for model in store.client.search_registered_models() if model.name == NAME] == []


def test_a_moved_clones_versions_point_to_its_folders(stored, tmp_path):
    params, paths = stored
    promote("sft-i1", params, paths)
    track_project(params, paths)
    moved = Paths(tmp_path / "moved")
    shutil.move(paths.root, moved.root)
    track_project(params, moved)
    assert shown(moved)[1]["1"]["source"] == str(moved.model("sft-i1"))


def test_a_registered_model_of_another_project_is_not_touched(stored):
    params, paths = stored
    with opened(paths) as store:
        store.client.create_registered_model(NAME, description="somebody's")
    promote("sft-i1", params, paths)
    report = track_project(params, paths)
    assert report.failed
    assert "gate.name" in report.warnings[-1]
    with opened(paths) as store:
        assert store.client.get_registered_model(NAME).description == "somebody's"


def test_a_champion_whose_folder_is_gone_is_warned_of(stored):
    params, paths = stored
    promote("sft-i1", params, paths)
    shutil.rmtree(paths.model("sft-i1"))
    assert "dvc checkout" in track_project(params, paths).warnings[-1]


def test_the_gates_parameters_make_no_other_flywheel(stored):
    params, paths = stored
    track_project(params, paths)
    stricter = params.model_copy(update={"gate": params.gate.model_copy(update={"cut_off_rise": 0.0})})
    assert track_project(stricter, paths).logged == []


def test_a_torn_registry_leaves_the_store_as_it_was(stored):
    params, paths = stored
    paths.registry.write_text("{", encoding="utf-8")
    report = track_project(params, paths)
    assert report.failed
    assert "registry.json" in report.warnings[-1]
    with pytest.raises(ArenaError):
        promote("sft-i1", params, paths)
