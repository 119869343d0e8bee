"""Test sets as WizardArena's: diverse ones over clusters of embeddings, hard ones, and both together (paper, 4.2)."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, Field

from arena_learning.core import canonical, words
from arena_learning.params import Pool
from arena_learning.pool.embeddings import Embedder, shared_embedder
from arena_learning.pool.filters import conversation_text
from arena_learning.pool.split import seeded_rank
from arena_learning.schema import Instruction, Row, read_rows

_RATED = 20  # instructions of each cluster that may be hard ones (paper)
_BLOCK = 8192
_GIVEN = {"easy": 2.0, "medium": 5.0, "hard": 8.0}
_HALF = 120.0  # words at which the stand-in for a difficulty is 6.3 of 10
_TURN = 40.0  # words that a further turn counts for


class RatedDifficulty(Row):
    """One line of a file of difficulties; other keys are ignored."""

    model_config = ConfigDict(extra="ignore")
    HINT = 'each line must be {"id": ..., "difficulty": 0 to 10}'

    id: str = Field(min_length=1)
    difficulty: float = Field(ge=0, le=10)


def read_difficulties(path: Path) -> dict[str, float]:
    """Return rated difficulties by instruction id.

    Raises:
        ArenaError: the file is missing or a line is malformed; with file and line.
    """
    return {row.id: row.difficulty for row in read_rows(path, RatedDifficulty)}


def choose_test_set(
    instructions: Sequence[Instruction],
    pool: Pool,
    seed: int,
    difficulties: Mapping[str, float],
    embedder: Embedder | None = None,
) -> tuple[list[Instruction], list[Instruction]]:
    """Choose ``pool.test`` instructions as ``pool.test_set`` says; return (chosen, rest), both in seeded order.

    ``diverse``: as many of each cluster as it has, one after the other, until the number is reached. ``hard``: of each
    cluster 20 by seed (more where clusters are few), and of these the most difficult. ``mix``: the first half diverse,
    then hard ones of the rest.

    Args:
        instructions: what to choose from.
        pool: kind and size of the test set, number of clusters.
        seed: seeds the clusters and all orders.
        difficulties: ratings from 0 to 10 by id; without one, `stated_difficulty` stands in.
        embedder: computes the sentence embeddings; by default the process's shared one.

    Raises:
        ArenaError: the package with the embedding model is not installed.
    """
    order = {one.id: seeded_rank(seed, "test set", one.id) for one in instructions}
    ranked = sorted(instructions, key=lambda one: order[one.id])
    clusters = cluster_instructions(ranked, pool.test_clusters, seed, embedder or shared_embedder())
    half = {"diverse": pool.test, "hard": 0, "mix": math.ceil(pool.test / 2)}[pool.test_set]
    chosen = _diverse(clusters, half)
    taken = {one.id for one in chosen}
    left = [[one for one in cluster if one.id not in taken] for cluster in clusters]
    chosen += _hard(left, pool.test - len(chosen), difficulties)
    taken = {one.id for one in chosen}
    return sorted(chosen, key=lambda one: order[one.id]), [one for one in ranked if one.id not in taken]


def cluster_instructions(
    instructions: Sequence[Instruction], count: int, seed: int, embedder: Embedder
) -> list[list[Instruction]]:
    """Return the instructions in clusters of like embeddings (K-means), each cluster in the order given."""
    from sklearn.cluster import MiniBatchKMeans

    texts = [conversation_text(one) for one in instructions]
    vectors: npt.NDArray[np.float32] = np.concatenate(list(embedder.blocks(texts, _BLOCK)))
    means = MiniBatchKMeans(min(count, len(texts)), random_state=seed, n_init=10, batch_size=4096)
    groups: dict[int, list[Instruction]] = defaultdict(list)
    for one, label in zip(instructions, means.fit_predict(vectors).tolist(), strict=True):
        groups[label].append(one)
    return [groups[label] for label in sorted(groups)]


def stated_difficulty(instruction: Instruction) -> float:
    """Return a stand-in for a rated difficulty, 0 to 10: the row's own word, else its length.

    Easy is 2, medium 5, hard 8. A row that does not say it gets 10 (1 - exp(-w / 120)), w being the words of the user's
    turns, and 40 for each turn after the first. Length is a poor measure of difficulty, so rate them by a judge where
    it matters (``pool.difficulties``).

    Example:
        >>> from arena_learning.schema import Turn
        >>> round(stated_difficulty(Instruction(id="q", turns=[Turn(role="user", content="Hi " * 60)])), 2)
        3.93
    """
    if instruction.difficulty in _GIVEN:
        return _GIVEN[instruction.difficulty]
    turns = sum(turn.role == "user" for turn in instruction.turns)
    return 10 * (1 - math.exp(-(len(words(instruction.text)) + _TURN * (turns - 1)) / _HALF))


def fingerprint(instructions: Sequence[Instruction]) -> str:
    """Return what identifies a test set: a digest of ids and conversations, in any order."""
    rows = sorted(canonical([one.id, [turn.model_dump() for turn in one.turns]]) for one in instructions)
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]


def _diverse(clusters: Sequence[Sequence[Instruction]], size: int) -> list[Instruction]:
    """Return the first of each cluster, then the second of each, and so on."""
    return [one for turn in zip_longest(*clusters) for one in turn if one is not None][:size]


def _hard(
    clusters: Sequence[Sequence[Instruction]], size: int, difficulties: Mapping[str, float]
) -> list[Instruction]:
    rated = max(_RATED, math.ceil(size / max(len(clusters), 1)))
    candidates = [one for cluster in clusters for one in cluster[:rated]]
    others = [one for cluster in clusters for one in cluster[rated:]]  # where some clusters are too small

    def difficulty(one: Instruction) -> float:
        return difficulties[one.id] if one.id in difficulties else stated_difficulty(one)

    ranked = sorted(candidates, key=lambda one: -difficulty(one))
    return [*ranked, *sorted(others, key=lambda one: -difficulty(one))][:size]
