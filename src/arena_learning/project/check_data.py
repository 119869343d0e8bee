"""Check that the pool is large enough and that no two splits, nor the validation or test set, share an instruction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from arena_learning.core import ArenaError, Paths, canonical
from arena_learning.params import SPLITS, Params
from arena_learning.pool import HELD_OUT, pool_files, read_answers, read_pool
from arena_learning.schema import Instruction, read_rows

_SHOWN = 5
_LARGE = 64 * 2**20  # bytes of a pool; more take seconds to read


def check_enough(params: Params, paths: Paths, more: int = 0) -> list[Instruction]:
    """Check that the pool has enough instructions, before any filter; return them.

    Args:
        params: the current parameters.
        paths: the project.
        more: instructions of splits that are about to be added.

    Raises:
        ArenaError: the pool is malformed, or smaller than splits, validation and test set together.
    """
    pool = params.pool
    place = paths.user_file(pool.instructions, "pool.instructions", outside=params.files_outside)
    instructions = read_pool(place, strict=pool.strict)
    there = len(instructions)
    wanted = pool.test + pool.validation + sum(pool.splits.values()) + more
    if there < wanted:
        raise ArenaError(
            f"splits, validation and test need {wanted} instructions, but the pool has {there}",
            where="params.yaml, pool",
            hint="add instructions to the pool, or make the splits smaller",
        )
    return instructions


def is_large(params: Params, paths: Paths) -> bool:
    """Whether the pool is too large to be read again for a check alone."""
    files = pool_files(paths.root / params.pool.instructions)
    return sum(file.stat().st_size for file in files) > _LARGE


def check_scorable(params: Params, paths: Paths, instructions: Sequence[Instruction] | None = None) -> None:
    """Check that some instruction has what the judges in use score by.

    Args:
        params: the current parameters.
        paths: the project.
        instructions: the pool; read here if None.

    Raises:
        ArenaError: no instruction has a rubric, and a judge of kind rubric is in use; or the same with references. Or
            the pool is malformed.
    """
    pool, outside = params.pool, params.files_outside
    if instructions is None:
        place = paths.user_file(pool.instructions, "pool.instructions", outside=outside)
        instructions = read_pool(place, strict=pool.strict)
    has = {"rubric": any(i.rubric for i in instructions), "reference": any(i.reference for i in instructions)}
    if pool.references and not has["reference"]:
        answers = read_answers(paths.user_file(pool.references, "pool.references", outside=outside))
        has["reference"] = any(i.id in answers for i in instructions)
    for name, place_of in params.judges_in_use().items():
        kind = params.judges[name].kind
        if not has.get(kind, True):
            row = "a list `rubric`" if kind == "rubric" else "a text `reference`"
            raise ArenaError(
                f"no instruction of {pool.instructions} has a {kind}, and judge '{name}' ({place_of}) scores by it",
                where=f"params.yaml, judges.{name}.kind: {kind}",
                hint=f"give the instructions {row}, or name another judge in {place_of}: one of kind llm needs neither",
            )


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
