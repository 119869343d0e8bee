"""Profiles: all are valid, and `arena init` resolves the engine without losing a comment."""

from __future__ import annotations

from pathlib import Path

import pytest

from arena_learning.core.errors import ArenaError
from arena_learning.params import load_params
from arena_learning.params.rounds import check_rounds
from arena_learning.project.profile import (
    ServingChoice,
    choose_serving,
    load_profile,
    profile_names,
    write_tree,
)

REPOSITORY = Path(__file__).parents[3]
PROFILES = REPOSITORY / "profiles"
HERE = ServingChoice("transformers", "fp32", "for the test")


@pytest.mark.parametrize("name", profile_names(PROFILES))
def test_every_profile_is_valid_and_says_what_it_needs(name: str) -> None:
    path = PROFILES / f"{name}.yaml"
    check_rounds(load_params(path))
    head = path.read_text(encoding="utf-8").splitlines()[:3]
    assert head[0].startswith(f'# Profile "{name}"')
    assert any("Needs" in line for line in head)


def test_the_laptop_profile_is_what_the_repository_runs() -> None:
    assert load_params(PROFILES / "laptop.yaml") == load_params(REPOSITORY / "params.yaml")


def test_the_ten_models_of_the_papers_table_are_linked_as_there() -> None:
    # Table 1: every SFT restarts from the base and adds to the last; DPO and PPO continue; the last PPO fights.
    rounds = load_params(PROFILES / "paper.yaml").rounds
    assert list(rounds) == [
        "sft-i0", "sft-i1", "dpo-i1", "ppo-i1", "sft-i2", "dpo-i2", "ppo-i2", "sft-i3", "dpo-i3", "ppo-i3",
    ]  # fmt: skip
    assert {rounds[f"sft-i{i}"].init for i in range(4)} == {"base"}
    assert [rounds[f"sft-i{i}"].target for i in range(1, 4)] == ["sft-i0", "ppo-i1", "ppo-i2"]
    assert [rounds[f"sft-i{i}"].adds_to for i in range(1, 4)] == ["sft-i0", "sft-i1", "sft-i2"]
    assert [rounds[f"dpo-i{i}"].adds_to for i in range(1, 4)] == ["none", "dpo-i1", "dpo-i2"]
    assert [r.split for r in rounds.values()] == [f"d{i}" for i in range(10)]
    assert [rounds[f"sft-i{i}"].threshold for i in range(1, 4)] == [3.0, 1.0, 1.0]
    assert rounds["dpo-i1"].threshold == 2.0


def test_init_resolves_the_engine_and_keeps_comments(tmp_path: Path) -> None:
    out = tmp_path / "params.yaml"
    tree, serving = load_profile("laptop", PROFILES, HERE)
    write_tree(tree, out, "laptop")
    assert serving == HERE
    params = load_params(out)
    assert (params.serving.engine, params.serving.dtype) == ("transformers", "fp32")
    comments = [
        x for x in (PROFILES / "laptop.yaml").read_text(encoding="utf-8").splitlines() if x.startswith("#")
    ]
    kept = out.read_text(encoding="utf-8").splitlines()
    assert comments
    assert all(comment in kept for comment in comments)


def test_an_unknown_profile_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ArenaError, match="did you mean 'laptop'"):
        load_profile("labtop", PROFILES, HERE)


def test_a_gpu_is_served_by_a_gpu_engine() -> None:
    assert choose_serving(cuda=True).engine in ("vllm", "transformers")
    assert choose_serving(cuda=True).dtype == "bf16"
