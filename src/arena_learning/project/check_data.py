"""What a chain of rounds must not share: an instruction in two splits, or in a split and the validation or test set."""

from __future__ import annotations

from collections import defaultdict

from arena_learning.core import ArenaError, Paths, canonical
from arena_learning.params import SPLITS, Params
from arena_learning.pool import HELD_OUT, read_pool
from arena_learning.schema import Instruction, read_rows

_SHOWN = 5


def check_enough(params: Params, paths: Paths, more: int = 0) -> None:
    """Check that the pool can fill what is asked of it, before any filter.

    Args:
        params: the current parameters.
        paths: the project.
        more: instructions of splits that are about to be added.

    Raises:
        ArenaError: the pool is malformed, or holds fewer instructions than splits, validation and test want.
    """
    pool = params.pool
    there = len(
        read_pool(paths.user_file(pool.instructions, "pool.instructions", outside=params.files_outside))
    )
    wanted = pool.test + pool.validation + sum(pool.splits.values()) + more
    if there < wanted:
        raise ArenaError(
            f"splits, validation and test want {wanted} instructions, and the pool holds {there}",
            where="params.yaml, pool",
            hint="add instructions to the pool, or ask for smaller splits",
        )


def check_disjoint(paths: Paths) -> int:
    """Check that no two prepared files share an instruction; return how many instructions they hold.

    `prepare` draws them disjoint. This finds what was edited or brought along since: the same id, or the same
    conversation under another id.

    Raises:
        ArenaError: two files share instructions; names the files and some of the ids.
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
            hint="let `arena prepare` make the files again, or take the instructions out of one of each pair",
        )
    return count
