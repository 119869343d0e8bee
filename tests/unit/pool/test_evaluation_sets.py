"""Test sets over clusters of real embeddings: diverse, hard, mixed; and their fingerprint."""

from __future__ import annotations

import json

import pytest

from arena_learning.core import ArenaError
from arena_learning.params import parse_params
from arena_learning.pool.embeddings import shared_embedder
from arena_learning.pool.evaluation_sets import (
    choose_test_set,
    cluster_instructions,
    fingerprint,
    read_difficulties,
    stated_difficulty,
)
from arena_learning.pool.prepare import split_pool
from arena_learning.schema import Turn

pytestmark = pytest.mark.torch

TOPICS = {
    "bread": ["knead dough", "bake a sourdough loaf", "proof yeast", "choose flour", "score a baguette"],
    "python": [
        "sort a Python list",
        "write a decorator",
        "read a CSV in pandas",
        "fix a TypeError",
        "use asyncio",
    ],
    "space": ["orbit Jupiter", "land on Mars", "launch a satellite", "see Saturn's rings", "measure a star"],
}


@pytest.fixture(scope="module")
def topics(make_instruction):
    return [
        make_instruction(f"{topic}-{n}", f"How do I {what}?", category=topic)
        for topic, asked in TOPICS.items()
        for n, what in enumerate(asked)
    ]


def params_for(make_params, kind, test, **pool):
    pool = {"splits": {"d1": 2}, "validation": 2, "test": test, "test_set": kind, "test_clusters": 3, **pool}
    pool["filters"] = {"near_duplicate": 0, "contamination": 0}
    return parse_params(make_params(pool=pool, seed=3), "params.yaml")


def test_the_clusters_are_the_whole_and_the_same_again(topics):
    clusters = cluster_instructions(topics, 3, 3, shared_embedder())
    assert sorted(one.id for cluster in clusters for one in cluster) == sorted(one.id for one in topics)
    assert clusters == cluster_instructions(topics, 3, 3, shared_embedder())


def test_a_diverse_set_has_some_of_each_cluster(topics, make_params):
    prepared = split_pool(topics, params_for(make_params, "diverse", 6))
    assert len(prepared.splits["test"]) == 6
    ids = [one.id for rows in prepared.splits.values() for one in rows] + prepared.unused
    assert sorted(ids) == sorted(one.id for one in topics)
    assert prepared.splits == split_pool(topics[::-1], params_for(make_params, "diverse", 6)).splits


def test_a_hard_set_holds_the_most_difficult_by_rating(topics, make_params):
    rated = {one.id: 9.0 for one in topics if one.id.endswith(("-1", "-4"))}
    pool = params_for(make_params, "hard", 6).pool
    chosen, rest = choose_test_set(topics, pool, 3, rated)
    assert {one.id for one in chosen} == set(rated)
    assert len(rest) == 9


def test_a_mix_is_half_diverse_and_half_hard(topics, make_params):
    rated = {f"space-{n}": 9.0 for n in range(5)}
    pool = params_for(make_params, "mix", 6).pool
    chosen, _ = choose_test_set(topics, pool, 3, rated)
    assert len(chosen) == 6
    assert sum(one.category == "space" for one in chosen) >= 3


def test_more_clusters_than_instructions_are_no_error(topics, make_params):
    pool = params_for(make_params, "diverse", 4, test_clusters=500).pool
    assert len(choose_test_set(topics, pool, 3, {})[0]) == 4


def test_the_stand_in_for_difficulty_is_the_rows_word_then_its_length(make_instruction):
    assert [
        stated_difficulty(make_instruction("a", "x", difficulty=d)) for d in ("easy", "medium", "hard")
    ] == [2, 5, 8]
    short, long = (stated_difficulty(make_instruction("a", "word " * n)) for n in (5, 200))
    assert 0 < short < long < 10
    turns = (("user", "word"), ("assistant", "word " * 500), ("user", "word"))
    said = make_instruction("a", turns=tuple(Turn(role=r, content=c) for r, c in turns))
    # Two words, and 40 for the second turn: 10 (1 - exp(-42 / 120)) = 2.953.
    assert stated_difficulty(said) == pytest.approx(2.953, abs=1e-3)


def test_difficulties_are_read_and_checked(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps({"id": "a", "difficulty": 7, "why": "x"}) + "\n", encoding="utf-8")
    assert read_difficulties(path) == {"a": 7.0}
    path.write_text(json.dumps({"id": "a", "difficulty": 11}) + "\n", encoding="utf-8")
    with pytest.raises(ArenaError, match="difficulty") as caught:
        read_difficulties(path)
    assert caught.value.where.endswith("line 1")


def test_the_fingerprint_follows_ids_and_texts_not_the_order(make_instruction):
    one, two = make_instruction("a", "Name a river."), make_instruction("b", "Name a sea.")
    assert fingerprint([one, two]) == fingerprint([two, one])
    others = [
        [one],
        [one, make_instruction("b", "Name a lake.")],
        [one, make_instruction("c", "Name a sea.")],
    ]
    assert len({fingerprint([one, two]), *map(fingerprint, others)}) == 4


def test_a_chosen_test_set_and_splits_by_hash_do_not_go_together(make_params):
    with pytest.raises(ArenaError, match="set split_by: draw"):
        params_for(make_params, "hard", 4, split_by="hash")
