from __future__ import annotations

import fcntl

import pytest
import yaml
from click.testing import CliRunner

from arena_learning.cli.rounds import command
from arena_learning.core.errors import ArenaError
from arena_learning.core.json_files import write_text
from arena_learning.params import load_params
from arena_learning.project.dvc_stages import stage_names
from arena_learning.project.prune import find_stale, remove_stale

STAGES = ("battle", "judge", "dataset", "train", "answer")


def change(paths, edit):
    raw = yaml.safe_load(paths.params.read_text(encoding="utf-8"))
    edit(raw)
    write_text(paths.params, yaml.safe_dump(raw, sort_keys=False))
    return load_params(paths.params)


def without_ppo(raw):
    del raw["rounds"]["ppo-i1"]


def everything(root):
    return {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file() and p.suffix != ".lock"}


def test_stage_names_are_those_of_the_pipeline(project):
    names = stage_names(project[1])
    assert {"prepare", "weights", "answer-base", "evaluate", "leaderboard"} <= names
    assert {f"{stage}@dpo-i1" for stage in STAGES} | {"answer-opponent@expert"} <= names
    assert not any(name.endswith("@none") for name in names)


def test_nothing_is_stale_while_every_round_is_named(project):
    assert find_stale(*project) == ([], [], [])


def test_a_round_taken_out_leaves_its_lock_entries_and_files(project):
    _, paths = project
    params = change(paths, without_ppo)
    before = everything(paths.root)
    stale = find_stale(params, paths)
    assert everything(paths.root) == before  # looking removes nothing
    assert stale.stages == sorted(f"{stage}@ppo-i1" for stage in STAGES)
    shown = {left.path.relative_to(paths.root).as_posix(): left.size for left in stale.files}
    assert shown == {
        ".arena/checkpoints/ppo-i1": 100,
        "data/arena/responses/ppo-i1.jsonl": 100,
        "data/rounds/ppo-i1": 200,
        "models/ppo-i1": 300,
    }
    lines = paths.lockfile.read_text(encoding="utf-8").splitlines()
    remove_stale(stale, paths)
    assert find_stale(params, paths) == ([], [], [])
    assert {name for name in before if "ppo-i1" not in name} == everything(paths.root)
    kept = paths.lockfile.read_text(encoding="utf-8").splitlines()
    assert kept == [line for line in lines if line in kept and "ppo-i1" not in line][: len(kept)]
    assert {n.partition("@")[2] for n in yaml.safe_load("\n".join(kept))["stages"]} == {
        "",
        "sft-i1",
        "dpo-i1",
    }


def test_files_without_a_lock_entry_are_found_too(project):
    _, paths = project
    write_text(paths.responses("sft-i9"), "half a round")
    (left,) = find_stale(*project).files
    assert left.path == paths.round("sft-i9")


def test_a_model_put_there_by_hand_is_nobodys_leftover(project):
    _, paths = project
    write_text(paths.model("llama") / "model.safetensors", "mine")
    assert find_stale(*project).files == []


def test_what_params_still_names_is_kept_and_said(project):
    _, paths = project

    def use_it(raw):
        without_ppo(raw)
        raw["judges"]["reward"] = {"kind": "reward", "model": "models/ppo-i1/reward_model"}

    stale = find_stale(change(paths, use_it), paths)
    assert stale.kept == [paths.model("ppo-i1")]
    assert paths.model("ppo-i1") not in [left.path for left in stale.files]


def test_a_running_stage_is_waited_for(project):
    _, paths = project
    params = change(paths, without_ppo)
    lock = paths.lock("train sft-i1")
    write_text(lock, "1")
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ArenaError, match="'train sft-i1' is running"):
            remove_stale(find_stale(params, paths), paths)
    assert paths.model("ppo-i1").is_dir()


def test_the_command_shows_first_and_removes_then(project):
    _, paths = project
    change(paths, without_ppo)
    shown = CliRunner().invoke(command, ["prune"], catch_exceptions=False).output
    assert "would remove (with --yes):" in shown
    assert "dvc.lock: train@ppo-i1" in shown
    assert paths.model("ppo-i1").is_dir()
    assert "removed:" in CliRunner().invoke(command, ["prune", "--yes"], catch_exceptions=False).output
    assert not paths.model("ppo-i1").exists()
    assert "nothing is left over" in CliRunner().invoke(command, ["prune"], catch_exceptions=False).output
