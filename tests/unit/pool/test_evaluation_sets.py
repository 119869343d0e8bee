"""Test sets over clusters of real embeddings: diverse, hard, mixed; and their fingerprint."""

from __future__ import annotations

import json

import pytest

from arena_learning.core import ArenaError, Paths
from arena_learning.params import parse_params
from arena_learning.pool.categories import with_categories
from arena_learning.pool.clusters import cluster_instructions, describe_clusters
from arena_learning.pool.embeddings import shared_embedder
from arena_learning.pool.evaluation_sets import (
    RatedDifficulty,
    choose_test_set,
    hard_candidates,
    read_difficulties,
    stated_difficulty,
)
from arena_learning.pool.identity import fingerprint
from arena_learning.pool.prepare import prepare_pool, split_pool
from arena_learning.schema import Turn, write_rows

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
    assert sorted(one.id for c in clusters for one in c.members) == sorted(one.id for one in topics)
    assert all(c.central in c.members for c in clusters)
    assert clusters == cluster_instructions(topics, 3, 3, shared_embedder())


def test_clusters_are_shown_by_their_words_and_their_middle(topics):
    clusters = cluster_instructions(topics, 3, 3, shared_embedder())
    shown = describe_clusters(clusters, 2)
    assert [row["size"] for row in shown] == sorted((len(c.members) for c in clusters), reverse=True)[:2]
    for row in shown:
        members = clusters[row["cluster"]].members
        assert row["central"] in [one.text for one in members]
        said = " ".join(one.text.lower() for one in members)
        assert row["words"]
        assert all(word in said for word in row["words"])


def test_a_diverse_set_has_some_of_each_cluster(topics, make_params):
    prepared = split_pool(topics, params_for(make_params, "diverse", 6))
    assert len(prepared.splits["test"]) == 6
    ids = [one.id for rows in prepared.splits.values() for one in rows] + prepared.unused
    assert sorted(ids) == sorted(one.id for one in topics)
    assert prepared.splits == split_pool(topics[::-1], params_for(make_params, "diverse", 6)).splits


def test_a_hard_set_holds_the_most_difficult_by_rating(topics, make_params):
    rated = {one.id: 9.0 for one in topics if one.id.endswith(("-1", "-4"))}
    pool = params_for(make_params, "hard", 6).pool
    found = choose_test_set(topics, pool, 3, rated)
    assert {one.id for one in found.instructions} == set(rated)
    assert len(found.rest) == 9
    assert found.parts == {"hard": sorted(rated)}
    assert (found.candidates, found.unrated, found.clusters) == (15, 9, 3)


def test_where_some_are_rated_the_others_come_last_however_long(make_instruction, make_params):
    pool = [make_instruction(f"short-{n}", f"Name river {n}.") for n in range(4)]
    pool += [make_instruction(f"long-{n}", f"Explain {n} " + "at length " * 200) for n in range(4)]
    how = params_for(make_params, "hard", 4).pool
    assert {one.id for one in choose_test_set(pool, how, 3, {}).instructions} == {
        f"long-{n}" for n in range(4)
    }
    rated = {f"short-{n}": 0.0 for n in range(4)}
    assert {one.id for one in choose_test_set(pool, how, 3, rated).instructions} == set(rated)


def test_only_a_sample_of_each_cluster_may_become_hard(topics, make_params):
    pool = params_for(make_params, "hard", 3, test_sample=2).pool
    candidates = hard_candidates(topics, pool, 3, shared_embedder())
    clusters = cluster_instructions(topics, 3, 3, shared_embedder())
    # Two of each cluster, or all of a smaller one.
    assert len(candidates) == sum(min(2, len(c.members)) for c in clusters)
    found = choose_test_set(topics, pool, 3, {})
    assert {one.id for one in found.instructions} <= {one.id for one in candidates}
    assert found.candidates == found.unrated == len(candidates)


@pytest.mark.parametrize("kind", ["diverse", "hard", "mix"])
def test_the_share_of_several_turns_is_kept(kind, topics, make_instruction, make_params):
    said = (("user", "Hello."), ("assistant", "Hello, ask me."))
    longer = [
        make_instruction(
            f"{one.id}-more",
            turns=tuple(Turn(role=r, content=c) for r, c in (*said, ("user", one.text))),
        )
        for one in topics[::2]
    ]
    pool = [*topics, *longer]  # 8 of 23
    found = choose_test_set(pool, params_for(make_params, kind, 12).pool, 3, {})
    # Of 12: round(12 x 8 / 23) = 4; of both halves of 6: round(6 x 8 / 23) = 2.
    assert sum(one.multi_turn for one in found.instructions) == 4
    assert len(found.instructions) == 12


def test_a_mix_is_half_diverse_and_half_hard(topics, make_params):
    rated = {f"space-{n}": 9.0 for n in range(5)}
    pool = params_for(make_params, "mix", 6).pool
    found = choose_test_set(topics, pool, 3, rated)
    assert len(found.instructions) == 6
    assert {name: len(ids) for name, ids in found.parts.items()} == {"diverse": 3, "hard": 3}
    assert sum(one.category == "space" for one in found.instructions) >= 3


def test_more_clusters_than_instructions_are_no_error(topics, make_params):
    pool = params_for(make_params, "diverse", 4, test_clusters=500).pool
    assert len(choose_test_set(topics, pool, 3, {}).instructions) == 4


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
    path.write_text('{"id": "a", "difficulty": 1}\n{"id": "a", "difficulty": 9}\n', encoding="utf-8")
    with pytest.raises(ArenaError, match="'a' is rated twice") as caught:
        read_difficulties(path)
    assert caught.value.where.endswith("line 2")


def test_the_fingerprint_follows_ids_and_texts_not_the_order(make_instruction):
    one, two = make_instruction("a", "Name a river."), make_instruction("b", "Name a sea.")
    assert fingerprint([one, two]) == fingerprint([two, one])
    others = [
        [one],
        [one, make_instruction("b", "Name a lake.")],
        [one, make_instruction("c", "Name a sea.")],
    ]
    assert len({fingerprint([one, two]), *map(fingerprint, others)}) == 4


def test_an_instruction_without_a_category_gets_the_nearest_described_one(topics, make_instruction):
    described = {
        "bread": "baking bread and dough",
        "python": "programs in Python",
        "space": "planets and rockets",
    }
    bare = [one.model_copy(update={"category": "other"}) for one in topics]
    given = with_categories(
        [*bare, make_instruction("own", "Bake bread.", category="mine")], described, shared_embedder()
    )
    assert given[-1].category == "mine"
    right = sum(one.category == was.category for one, was in zip(given, topics, strict=False))
    assert right >= 13  # of 15
    assert with_categories(bare, {}, shared_embedder()) == bare


def test_the_card_says_how_the_test_set_was_chosen(tmp_path, topics, make_params):
    rows = [one.model_copy(update={"category": "other"}) for one in topics]
    write_rows(tmp_path / "pool.jsonl", rows)
    write_rows(tmp_path / "d.jsonl", [RatedDifficulty(id=one.id, difficulty=3) for one in rows[:10]])
    pool = {
        "instructions": "pool.jsonl",
        "splits": {"d1": 2},
        "test": 6,
        "test_set": "mix",
        "test_clusters": 3,
    }
    pool |= {"difficulties": "d.jsonl", "categories": {"bread": "baking", "space": "planets"}}
    card = prepare_pool(parse_params(make_params(pool=pool), "here"), Paths(tmp_path))
    assert card["categories_assigned"] == 15
    assert set(card["categories"]["test"]) <= {"bread", "space"}
    found = card["test_set"]
    assert (found["kind"], found["clusters"], len(found["largest"])) == ("mix", 3, 3)
    assert sum(row["chosen"] for row in found["largest"]) == 6
    assert sum(row["size"] for row in found["largest"]) == 15
    assert sorted(map(len, found["parts"].values())) == [3, 3]
    assert 0 < found["unrated"] < found["candidates"] == 12


def test_a_file_of_difficulties_that_is_not_there_is_an_error_that_says_who_writes_it(
    tmp_path, topics, make_params
):
    write_rows(tmp_path / "pool.jsonl", topics)
    pool = {
        "instructions": "pool.jsonl",
        "splits": {"d1": 2},
        "test": 6,
        "test_set": "hard",
        "difficulties": "d.jsonl",
    }
    with pytest.raises(ArenaError, match=r"no such file: d\.jsonl") as caught:
        prepare_pool(parse_params(make_params(pool=pool), "here"), Paths(tmp_path))
    assert "arena difficulty" in caught.value.hint


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        ({"difficulty_judge": "rubrik"}, "pool.difficulty_judge: no judge 'rubrik'; did you mean 'rubric'?"),
        ({"difficulty_judge": "rubric"}, "only an llm can rate an instruction alone"),
    ],
)
def test_who_rates_difficulties_must_be_a_model(pool, message, make_params):
    with pytest.raises(ArenaError) as caught:
        params_for(make_params, "hard", 4, **pool)
    assert message in str(caught.value)


def test_a_chosen_test_set_and_splits_by_hash_do_not_go_together(make_params):
    with pytest.raises(ArenaError, match="set split_by: draw"):
        params_for(make_params, "hard", 4, split_by="hash")
