from __future__ import annotations

import pytest

from arena_learning.core.errors import ArenaError
from arena_learning.core.paths import Paths, find_project


def test_the_project_is_the_nearest_folder_upwards_with_parameters(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").touch()
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert find_project().root == tmp_path.resolve()
    assert find_project(tmp_path).root == tmp_path.resolve()


def test_a_named_folder_is_not_searched_upwards(tmp_path):
    (tmp_path / "params.yaml").touch()
    (tmp_path / "a").mkdir()
    with pytest.raises(ArenaError, match="arena init"):
        find_project(tmp_path / "a")


def test_outs_stay_in_an_experiments_copy_and_the_stores_at_home(tmp_path, monkeypatch):
    home, copy = tmp_path / "home", tmp_path / "copy"
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert Paths(copy).store == copy.resolve() / ".arena" / "store.sqlite"
    monkeypatch.setenv("DVC_ROOT", str(home))
    paths = Paths(copy)
    assert paths.battles("sft-i1") == copy / "data" / "rounds" / "sft-i1" / "battles.jsonl"
    assert paths.lock("battle sft-i1").is_relative_to(copy)
    for kept in (paths.store, paths.exports, paths.mlruns, paths.checkpoints("sft-i1")):
        assert kept.is_relative_to(home)


def test_no_two_artefacts_of_two_rounds_share_a_path(tmp_path):
    paths = Paths(tmp_path)
    kinds = (
        paths.responses,
        paths.games,
        paths.battles,
        paths.sft,
        paths.preferences,
        paths.card,
        paths.model,
    )
    stages = [paths.stage_metrics(r, s) for r in ("a", "b") for s in ("battle", "judge", "train")]
    found = [kind(name) for kind in kinds for name in ("a", "b")] + stages
    assert len(set(found)) == len(found)
