"""Judges' prompts in MLflow's registry: a version a text, found again by what a game says of its judge."""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from arena_learning.core.json_files import write_text
from arena_learning.core.paths import Paths
from arena_learning.judge.stage import judge_round
from arena_learning.judge.template import JudgeTemplate
from arena_learning.params import parse_params
from arena_learning.schema.row_files import read_rows
from arena_learning.schema.rows import Game
from arena_learning.tracking import track_project
from arena_learning.tracking.mlflow_store import opened
from arena_learning.tracking.prompts import register, registry_name, templates_of
from tiny import build_tiny_model

ONE = "{{ turns[-1].content }} A: {{ response_a }} B: {{ response_b }} Say Score-A: and Score-B:."
TWO = ONE + " Be strict."


@pytest.fixture
def judged(project):
    """A project whose judge is a language model with a prompt of its own, `prompts/mine.jinja`."""
    params, paths = project
    build_tiny_model(paths.model("base"))
    raw = params.model_dump(mode="json")
    raw["opponents"].pop("remote")
    raw["judges"]["big"] = {
        "kind": "llm",
        "engine": "transformers",
        "model": "models/base",
        "template": "prompts/mine.jinja",
        "max_tokens": 2,
        "attempts": 1,
    }
    raw["judge"]["name"] = "big"
    write_text(paths.root / "prompts" / "mine.jinja", ONE)
    return parse_params(raw, "test"), paths


def judged_by(params, paths):
    """Judge a round, and return what its games say of their template: ``name@digest``."""
    judge_round("sft-i1", params, paths)
    games = read_rows(paths.games("sft-i1"), Game)
    (recorded,) = {tuple(re.findall(r"\S+@[0-9a-f]{12}", game.judge)) for game in games}
    return recorded


def versions(paths, name="arena-judge-prompts-mine"):
    """Return the registered versions of a prompt by number."""
    with opened(paths) as store:
        return {int(found.version): found for found in store.client.search_prompt_versions(name)}


def test_a_games_record_leads_to_the_text_that_judged_it_after_the_file_has_changed(judged):
    params, paths = judged
    (first,) = judged_by(params, paths)
    assert track_project(params, paths).prompts == {first: "arena-judge-prompts-mine/1"}

    write_text(paths.root / "prompts" / "mine.jinja", TWO)
    (second,) = judged_by(params, paths)
    assert second != first
    assert track_project(params, paths).prompts == {second: "arena-judge-prompts-mine/2"}

    found = versions(paths)
    assert {n: v.template for n, v in found.items()} == {1: ONE, 2: TWO}
    for recorded, version, text in ((first, 1, ONE), (second, 2, TWO)):
        template, digest = recorded.split("@")
        assert digest == hashlib.sha256(text.encode()).hexdigest()[:12]
        by_tag = [n for n, v in found.items() if v.tags["arena.digest"] == digest]
        assert by_tag == [version]
        assert found[version].tags["arena.template"] == template == "prompts/mine.jinja"
        assert found[version].commit_message == recorded


def test_prompts_stand_in_the_experiment_of_the_runs(judged):
    params, paths = judged
    track_project(params, paths)
    with opened(paths) as store:
        for experiment, names in ((store.experiment, ["arena-judge-prompts-mine"]), ("0", [])):
            found = store.client.search_prompts(f"experiment_id = '{experiment}'")
            assert [prompt.name for prompt in found] == names


def test_the_same_text_is_no_new_version_however_often_it_is_tracked(judged):
    params, paths = judged
    first = track_project(params, paths).prompts
    again = track_project(params, paths)
    assert (again.prompts, again.warnings) == (first, [])
    assert track_project(params, paths, rebuild=True).prompts == first
    assert list(versions(paths)) == [1]


def test_going_back_to_an_earlier_text_finds_its_version_again(judged):
    params, paths = judged
    shown = []
    for text in (ONE, TWO, ONE):
        write_text(paths.root / "prompts" / "mine.jinja", text)
        shown += track_project(params, paths).prompts.values()
    assert [name.rsplit("/", 1)[1] for name in shown] == ["1", "2", "1"]
    assert sorted(versions(paths)) == [1, 2]


def test_an_empty_store_is_filled_from_the_files_again(judged, template, tmp_path):
    params, paths = judged
    before = track_project(params, paths).prompts
    clone = Paths(tmp_path / "other")
    shutil.copytree(paths.root, clone.root, ignore=shutil.ignore_patterns("mlruns"))
    shutil.copytree(template, clone.mlruns)  # as empty as a new one
    assert track_project(params, clone, rebuild=True).prompts == before
    assert versions(clone)[1].template == ONE


def test_templates_by_category_are_registered_and_judges_without_a_prompt_are_not(project):
    params, paths = project
    assert templates_of(params) == []
    raw = params.model_dump(mode="json")
    raw["judges"]["big"] = {"kind": "llm", "engine": "transformers", "model": "models/base"}
    raw["judges"]["big"] |= {"template": "pairwise-score", "templates": {"coding": "reference-guided"}}
    names = templates_of(parse_params(raw, "test"))
    assert names == ["pairwise-score", "reference-guided"]
    with opened(paths) as store:
        found = register(store, names, paths.root)
    assert found == {
        f"{name}@{JudgeTemplate(name, paths.root).digest}": f"{registry_name(name)}/1" for name in names
    }
    assert versions(paths, "arena-judge-reference-guided")[1].template.startswith("{#")


def aliases(paths, name="arena-judge-prompts-mine"):
    """Return the version of each alias of a prompt."""
    with opened(paths) as store:
        found = [v.version for v in store.client.search_prompt_versions(name)]  # without their aliases
        return {a: int(v) for v in found for a in store.client.get_prompt_version(name, v).aliases}


def test_a_judges_name_is_the_alias_of_the_text_that_it_uses_now(judged):
    params, paths = judged
    assert (track_project(params, paths).warnings, aliases(paths)) == ([], {"big": 1})
    write_text(paths.root / "prompts" / "mine.jinja", TWO)
    for rebuild in (False, True):
        track_project(params, paths, rebuild=rebuild)
        assert aliases(paths) == {"big": 2}
    with opened(paths) as store:
        assert store.client.get_prompt_version_by_alias("arena-judge-prompts-mine", "big").template == TWO


def test_the_alias_of_a_judge_that_is_gone_is_removed_and_another_projects_is_left(judged):
    params, paths = judged
    track_project(params, paths)
    with opened(paths) as store:
        store.client.set_prompt_alias("arena-judge-prompts-mine", "theirs", 1)
        store.client.set_prompt_tag("arena-judge-prompts-mine", "arena.alias.theirs", "another project")
    raw = params.model_dump(mode="json")
    raw["judges"]["strict"] = raw["judges"].pop("big")
    raw["judges"]["theirs"] = raw["judges"]["strict"]
    raw["judge"]["name"] = "strict"
    write_text(paths.root / "prompts" / "mine.jinja", TWO)
    track_project(parse_params(raw, "test"), paths)
    assert aliases(paths) == {"theirs": 1, "strict": 2}
