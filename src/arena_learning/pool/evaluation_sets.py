"""Test sets as WizardArena's: diverse ones over clusters of embeddings, hard ones, and both together (paper, 4.2)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ConfigDict, Field

from arena_learning.core import ArenaError, words
from arena_learning.params import Pool
from arena_learning.pool.clusters import Cluster, cluster_instructions, describe_clusters
from arena_learning.pool.embeddings import Embedder, shared_embedder
from arena_learning.pool.split import seeded_rank
from arena_learning.schema import Instruction, Row, numbered_rows

_SHOWN = 20  # clusters on the card, the largest
_GIVEN = {"easy": 2.0, "medium": 5.0, "hard": 8.0}
_HALF = 120.0  # words at which the stand-in for a difficulty is 6.3 of 10
_TURN = 40.0  # words that a further turn counts for
_Group = Sequence[Instruction]


class RatedDifficulty(Row):
    """One line of a file of difficulties; other keys are ignored."""

    model_config = ConfigDict(extra="ignore")
    HINT = 'each line must be {"id": ..., "difficulty": 0 to 10}'

    id: str = Field(min_length=1)
    difficulty: float = Field(ge=0, le=10)
    judge: str = ""


def read_difficulties(path: Path) -> dict[str, float]:
    """Return rated difficulties by instruction id.

    Raises:
        ArenaError: the file is missing, a line is malformed or an id is rated twice; with file and line.
    """
    found: dict[str, float] = {}
    for number, row in numbered_rows(path, RatedDifficulty):
        if row.id in found:
            raise ArenaError(
                f"'{row.id}' is rated twice", where=f"{path}, line {number}", hint="keep one of the ratings"
            )
        found[row.id] = row.difficulty
    return found


class ChosenSet(NamedTuple):
    """A chosen test set.

    Attributes:
        instructions: the test set, in seeded order.
        rest: what was not chosen, in seeded order.
        parts: ids of the test set by the rule that chose them: ``diverse``, ``hard``.
        candidates: number of instructions that could have become hard ones, for which a difficulty counts.
        unrated: number of these without a rating.
        clusters: number of clusters.
        largest: the largest clusters for readers (`clusters.describe_clusters`), each with its number ``chosen``.
    """

    instructions: list[Instruction]
    rest: list[Instruction]
    parts: dict[str, list[str]]
    candidates: int
    unrated: int
    clusters: int
    largest: list[dict[str, Any]]

    def card(self) -> dict[str, Any]:
        """Return what the data card says of the choice."""
        fields = ("parts", "candidates", "unrated", "clusters", "largest")
        return {name: getattr(self, name) for name in fields}


def choose_test_set(
    instructions: Sequence[Instruction],
    pool: Pool,
    seed: int,
    difficulties: Mapping[str, float],
    embedder: Embedder | None = None,
) -> ChosenSet:
    """Choose ``pool.test`` instructions as ``pool.test_set`` says.

    ``diverse``: as many of each cluster as it has, one after the other, until the number is reached. ``hard``: of each
    cluster ``pool.test_sample`` by seed (more where clusters are few), and of these the most difficult. ``mix``: the
    first half diverse, then hard ones of the rest. Each part has as large a share of conversations of several turns as
    the instructions to choose from, as far as they last.

    Args:
        instructions: what to choose from.
        pool: kind and size of the test set, number of clusters.
        seed: seeds the clusters and all orders.
        difficulties: ratings from 0 to 10 by id. Where there are any, an instruction without one comes after all that
            have one; without any, `stated_difficulty` stands in.
        embedder: computes the sentence embeddings; by default the process's shared one.

    Raises:
        ArenaError: the package with the embedding model is not installed.
    """
    ranked = _ranked(instructions, seed)
    share = _several(ranked)
    clusters = cluster_instructions(ranked, pool.test_clusters, seed, embedder or shared_embedder())
    diverse = _diverse(clusters, pool, share)
    size = pool.test - len(diverse)
    candidates = _candidates(clusters, pool, diverse) if size else []
    hard = _keeping_share(_by_difficulty(candidates, difficulties), size, share)
    if size > len(hard):  # some clusters are too small
        taken = {one.id for one in (*diverse, *candidates)}
        others = [one for one in ranked if one.id not in taken]
        hard += _keeping_share(_by_difficulty(others, difficulties), size - len(hard), share)
    taken = {one.id for one in (*diverse, *hard)}
    parts = {"diverse": diverse, "hard": hard}
    largest = [
        {**row, "chosen": sum(one.id in taken for one in clusters[row["cluster"]].members)}
        for row in describe_clusters(clusters, _SHOWN)
    ]
    return ChosenSet(
        [one for one in ranked if one.id in taken],
        [one for one in ranked if one.id not in taken],
        {name: sorted(one.id for one in part) for name, part in parts.items() if part},
        len(candidates),
        sum(one.id not in difficulties for one in candidates),
        len(clusters),
        largest,
    )


def hard_candidates(
    instructions: Sequence[Instruction], pool: Pool, seed: int, embedder: Embedder
) -> list[Instruction]:
    """Return the instructions whose difficulty `choose_test_set` would ask for, in seeded order.

    Args:
        instructions: what the test set is chosen from.
        pool: kind and size of the test set, number of clusters.
        seed: seeds the clusters and all orders.
        embedder: computes the sentence embeddings.
    """
    ranked = _ranked(instructions, seed)
    clusters = cluster_instructions(ranked, pool.test_clusters, seed, embedder)
    diverse = _diverse(clusters, pool, _several(ranked))
    wanted = {one.id for one in _candidates(clusters, pool, diverse)}
    return [one for one in ranked if one.id in wanted]


def stated_difficulty(instruction: Instruction) -> float:
    """Return a stand-in for a rated difficulty, 0 to 10: the row's own word, else its length.

    Easy is 2, medium 5, hard 8. A row that does not say it gets 10 (1 - exp(-w / 120)), w being the words of the user's
    turns, and 40 for each turn after the first. Length is a poor measure of difficulty, so let a judge rate them where
    it matters (`arena difficulty`).

    Example:
        >>> from arena_learning.schema import Turn
        >>> round(stated_difficulty(Instruction(id="q", turns=[Turn(role="user", content="Hi " * 60)])), 2)
        3.93
    """
    if instruction.difficulty in _GIVEN:
        return _GIVEN[instruction.difficulty]
    turns = sum(turn.role == "user" for turn in instruction.turns)
    return 10 * (1 - math.exp(-(len(words(instruction.text)) + _TURN * (turns - 1)) / _HALF))


def _ranked(instructions: Sequence[Instruction], seed: int) -> list[Instruction]:
    return sorted(instructions, key=lambda one: seeded_rank(seed, "test set", one.id))


def _several(instructions: _Group) -> float:
    """Return the share of conversations of several turns."""
    return sum(one.multi_turn for one in instructions) / max(len(instructions), 1)


def _diverse(clusters: Sequence[Cluster], pool: Pool, share: float) -> list[Instruction]:
    """Return the diverse part: the first of each cluster, then the second of each, and so on."""
    size = {"diverse": pool.test, "hard": 0, "mix": math.ceil(pool.test / 2)}[pool.test_set]
    turns = zip_longest(*(cluster.members for cluster in clusters))
    return _keeping_share([one for turn in turns for one in turn if one is not None], size, share)


def _candidates(clusters: Sequence[Cluster], pool: Pool, taken: _Group) -> list[Instruction]:
    """Return which instructions may become hard ones: some of each cluster that are not ``taken``."""
    gone = {one.id for one in taken}
    most = max(pool.test_sample, math.ceil((pool.test - len(taken)) / max(len(clusters), 1)))
    left = ([one for one in cluster.members if one.id not in gone] for cluster in clusters)
    return [one for members in left for one in members[:most]]


def _by_difficulty(candidates: _Group, difficulties: Mapping[str, float]) -> list[Instruction]:
    """Return the most difficult first; equally difficult ones in the order given."""
    if difficulties:
        return sorted(candidates, key=lambda one: -difficulties.get(one.id, -1.0))
    return sorted(candidates, key=lambda one: -stated_difficulty(one))


def _keeping_share(ranked: _Group, size: int, share: float) -> list[Instruction]:
    """Return the first ``size``, as many of several turns as is their ``share``, and others only where these end."""
    several = round(size * share)
    left = {True: several, False: size - several}
    chosen, spare = [], []
    for one in ranked:
        if left[one.multi_turn]:
            left[one.multi_turn] -= 1
            chosen.append(one)
        else:
            spare.append(one)
    return [*chosen, *spare[: size - len(chosen)]]
