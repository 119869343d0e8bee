"""Gives instructions without a category the described one that is nearest by sentence embedding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from arena_learning.pool.embeddings import Embedder
from arena_learning.pool.filters import conversation_text
from arena_learning.schema import Instruction

NO_CATEGORY = "other"  # what a row has that says none
_BLOCK = 8192


def with_categories(
    instructions: Sequence[Instruction], described: Mapping[str, str], embedder: Embedder
) -> list[Instruction]:
    """Return the instructions in their order; those without a category get one.

    It is the one whose name and description have the highest cosine to the conversation: a stated substitute for a
    judge's word. It tells topics apart, and kinds of task seldom (docs/lab/results.md has figures).

    Args:
        instructions: any instructions; one that has a category keeps it.
        described: each category with a description; without any, nothing is assigned.
        embedder: computes the sentence embeddings.

    Raises:
        ArenaError: the package with the embedding model is not installed.

    Example::

        with_categories(pool, {"coding": "writing and mending programs", "cooking": "recipes"}, shared_embedder())
    """
    if not described:
        return list(instructions)
    names = list(described)
    items = embedder.embed([f"{name}: {said}" if said else name for name, said in described.items()])
    without = [one for one in instructions if one.category == NO_CATEGORY]
    blocks = embedder.blocks([conversation_text(one) for one in without], _BLOCK)
    nearest: Iterator[int] = (
        place for block in blocks for place in (block @ items.T).argmax(axis=1).tolist()
    )
    return [
        one.model_copy(update={"category": names[next(nearest)]}) if one.category == NO_CATEGORY else one
        for one in instructions
    ]
