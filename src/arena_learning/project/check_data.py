"""Check that the pool is large enough and that no two splits, nor the validation or test set, share an instruction."""

from __future__ import annotations

from collections import defaultdict

from arena_learning.core import ArenaError, Paths, canonical
from arena_learning.params import SPLITS, Params
from arena_learning.pool import HELD_OUT, check_judges, read_answers, read_pool, with_references
from arena_learning.schema import Instruction, read_rows

_SHOWN = 5


def check_enough(params: Params, paths: Paths, more: int = 0) -> list[Instruction]:
    """Check that the pool has enough instructions, before any filter; return them, with their references.

    Args:
        params: the current parameters.
        paths: the project.
        more: instructions of splits that are about to be added.

    Raises:
        ArenaError: the pool is malformed, smaller than splits, validation and test set together, or without what a
            judge scores by.
    """
    pool = params.pool
    place = paths.user_file(pool.instructions, "pool.instructions", outside=params.files_outside)
    instructions = read_pool(place, strict=pool.strict)
    if pool.references:
        answers = paths.user_file(pool.references, "pool.references", outside=params.files_outside)
        instructions = with_references(instructions, read_answers(answers))
    check_judges(instructions, params)
    there = len(instructions)
    wanted = pool.test + pool.validation + sum(pool.splits.values()) + more
    if there < wanted:
        raise ArenaError(
            f"splits, validation and test need {wanted} instructions, but the pool has {there}",
            where="params.yaml, pool",
            hint="add instructions to the pool, or make the splits smaller",
        )
    return instructions


def check_disjoint(paths: Paths) -> int:
    """Check that no two prepared files share an instruction; return the number of their instructions.

    `prepare` draws disjoint files. This check finds later edits and copies: the same id, or the same conversation under
    another id.

    Raises:
        ArenaError: two files share instructions; the error names the files and some of the ids.
    """
    places: dict[str, list[tuple[str, str]]] = defaultdict(list)
    count = 0
    for name in (*HELD_OUT, *SPLITS):
        path = paths.split(name)
        for row in read_rows(path, Instruction) if path.is_file() else ():
            count += 1
            said = canonical([turn.model_dump() for turn in row.turns])
            for key in (f"id {row.id}", f"turns {said}"):
                places[key].append((name, row.id))
    shared: dict[tuple[str, str], set[str]] = defaultdict(set)
    for found in places.values():
        for other, _ in found[1:]:
            if other != found[0][0]:
                shared[found[0][0], other].add(found[0][1])
    if shared:
        lines = [
            f"{a} and {b} share {len(ids)} instructions ({', '.join(sorted(ids)[:_SHOWN])})"
            for (a, b), ids in sorted(shared.items())
        ]
        raise ArenaError(
            "\n  " + "\n  ".join(lines),
            where=str(paths.split("").parent),
            hint="make the files again with `arena prepare`, or remove the instructions from one file of each pair",
        )
    return count
