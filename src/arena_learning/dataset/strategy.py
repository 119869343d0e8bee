"""The order in which a strategy would take the rows of a round, the first the most wanted.

These are what the method's own choice, the battles that the target lost, is compared with (paper, table 5). Each
depends on the seed, the rows and the weights alone, not on the order of the files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import numpy as np

from arena_learning.core import ArenaError, Progress, canonical, words
from arena_learning.engines import AnswerLoss, answer_losses, weights_digest
from arena_learning.params import Strategy
from arena_learning.pool import cluster_instructions, seeded_rank, shared_embedder
from arena_learning.schema import Instruction
from arena_learning.store import VectorStore

_CLUSTERS = 500  # at most, as for the paper's test sets; with fewer rows wanted, a cluster for each
_RARE = 0.1  # a word in more than this share of the instructions tells nothing of one of them
_LOSSES = "answer losses 1"  # raise the number when the same text would get another loss


class StrategySources(NamedTuple):
    """What a strategy reads besides the rows.

    Attributes:
        seed: seed of draws, clusters and ties.
        vectors: file that remembers embeddings and losses by text (`Paths.vectors`); none: nothing is remembered.
        model: folder of the target's weights, for ``ifd``.
        trust_remote_code: run code that comes with the model.
    """

    seed: int = 0
    vectors: Path | None = None
    model: Path | None = None
    trust_remote_code: bool = False


class LearntAnswer(NamedTuple):
    """An instruction and the answer to it that would be learnt."""

    instruction: Instruction
    answer: str


def strategy_order(
    strategy: Strategy, rows: Sequence[LearntAnswer], wanted: int, sources: StrategySources
) -> list[str]:
    """Return the ids of the rows' instructions, the most wanted first.

    Args:
        strategy: ``random``, ``length``, ``kmeans``, ``ifd`` or ``tags``, see `params.Dataset`.
        rows: what there is to choose from.
        wanted: how many will be taken; ``kmeans`` makes as many clusters.
        sources: seed, files and weights.

    Raises:
        ArenaError: the weights or the package that a strategy needs are missing.

    Example:
        >>> from arena_learning.schema import Turn
        >>> asked = [Instruction(id=name, turns=[Turn(role="user", content="Hi")]) for name in "ab"]
        >>> given = [LearntAnswer(asked[0], "Hi."), LearntAnswer(asked[1], "Hello, how are you?")]
        >>> strategy_order("length", given, 1, StrategySources())
        ['b', 'a']
    """
    rank = {row.instruction.id: seeded_rank(sources.seed, "strategy", row.instruction.id) for row in rows}
    shuffled = sorted(rows, key=lambda row: rank[row.instruction.id])
    ordered = _ORDERS[strategy](shuffled, wanted, sources) if shuffled else []
    return [row.instruction.id for row in ordered]


def _random(rows: Sequence[LearntAnswer], wanted: int, sources: StrategySources) -> Sequence[LearntAnswer]:
    return rows


def _length(rows: Sequence[LearntAnswer], wanted: int, sources: StrategySources) -> Sequence[LearntAnswer]:
    return sorted(rows, key=lambda row: -len(words(row.answer)))


def _kmeans(rows: Sequence[LearntAnswer], wanted: int, sources: StrategySources) -> Sequence[LearntAnswer]:
    """Return the first of each cluster of instructions, then the second of each, and so on."""
    by_id = {row.instruction.id: row for row in rows}
    asked = [row.instruction for row in rows]
    count = max(1, min(wanted, _CLUSTERS))
    clusters = cluster_instructions(asked, count, sources.seed, shared_embedder(sources.vectors))
    return [
        by_id[one.id]
        for turn in zip_longest(*(cluster.members for cluster in clusters))
        for one in turn
        if one is not None
    ]


def _tags(rows: Sequence[LearntAnswer], wanted: int, sources: StrategySources) -> Sequence[LearntAnswer]:
    """Return rows as InsTag samples them: the most tags first, each with a tag that the ones before have not."""
    tags = instruction_tags([row.instruction for row in rows])
    left = sorted(rows, key=lambda row: -len(tags[row.instruction.id]))
    ordered: list[LearntAnswer] = []
    while left:
        covered: set[str] = set()
        passed: list[LearntAnswer] = []
        for row in left:
            own = tags[row.instruction.id]
            (passed if own <= covered else ordered).append(row)
            covered |= own
        if len(passed) == len(left):  # no tags at all
            return [*ordered, *passed]
        left = passed
    return ordered


def instruction_tags(instructions: Sequence[Instruction]) -> dict[str, set[str]]:
    """Return each instruction's tags: its category, and its words that at least two and at most a tenth share.

    A stand-in for InsTag's tags, which a language model writes.
    """
    own = {one.id: set(words(one.text)) for one in instructions}
    shared = Counter(word for said in own.values() for word in said)
    most = max(2.0, _RARE * len(own))
    telling = {word for word, count in shared.items() if 2 <= count <= most}
    return {one.id: {f"category {one.category}", *(own[one.id] & telling)} for one in instructions}


def _ifd(rows: Sequence[LearntAnswer], wanted: int, sources: StrategySources) -> Sequence[LearntAnswer]:
    """Return rows by difficulty, the highest below 1 first: at 1 and above the instruction does not help the answer."""
    found = following_difficulties(rows, sources)

    def place(row: LearntAnswer) -> tuple[int, float]:
        own = found[row.instruction.id]
        return (2, 0.0) if own is None else (int(own >= 1), -own)

    return sorted(rows, key=place)


def following_difficulties(rows: Sequence[LearntAnswer], sources: StrategySources) -> dict[str, float | None]:
    """Return each instruction's following difficulty (IFD): loss after the instruction over loss without it.

    Losses are remembered by text and by the digest of the weights, some rows at a time: after a kill the next call
    computes the rest. None where the target's chat template does not take the row, or nothing is to be lost.

    Raises:
        ArenaError: there is no model.
    """
    if sources.model is None:
        raise ArenaError(
            "strategy ifd needs the target's weights", where="dataset.strategy", hint="name another one"
        )
    texts = [
        canonical([[turn.model_dump() for turn in row.instruction.turns], row.answer.strip()]) for row in rows
    ]
    name = f"{_LOSSES} {weights_digest(sources.model)}"
    memory = VectorStore(sources.vectors, name) if sources.vectors else None
    known = {text: value.tolist() for text, value in (memory.get(texts) if memory else {}).items()}
    new = [n for n, text in enumerate(texts) if text not in known]
    asked = [(rows[n].instruction.turns, rows[n].answer.strip()) for n in new]
    with Progress("likelihoods", len(new), "answers") as progress:
        for numbers, losses in answer_losses(
            sources.model, asked, trust_remote_code=sources.trust_remote_code
        ):
            fresh = {texts[new[n]]: _written(loss) for n, loss in zip(numbers, losses, strict=True)}
            if memory:
                memory.put({text: np.asarray(pair, dtype=np.float32) for text, pair in fresh.items()})
            known |= fresh
            progress.advance(len(numbers))
    return {row.instruction.id: _ratio(*known[text]) for row, text in zip(rows, texts, strict=True)}


def _written(loss: AnswerLoss | None) -> list[float]:
    # Rounded as it is remembered, so that what is remembered orders rows as what was computed.
    return [float(np.float32(round(value, 4))) for value in loss] if loss else [0.0, 0.0]


def _ratio(after: float, alone: float) -> float | None:
    return after / alone if alone > 0 else None


_Order = Callable[[Sequence[LearntAnswer], int, StrategySources], Sequence[LearntAnswer]]
_ORDERS: Mapping[str, _Order] = {
    "random": _random,
    "length": _length,
    "kmeans": _kmeans,
    "ifd": _ifd,
    "tags": _tags,
}
