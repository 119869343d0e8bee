"""Which games a round plays, and how many of them the store has: for the stage, and for a plan before it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from arena_learning.arena import pair_contestants
from arena_learning.engines import older_fingerprints
from arena_learning.judge.base import Judge, Presentation, is_remembered
from arena_learning.judge.play import PORTION, Pairing, is_unanswered
from arena_learning.judge.stored_verdict import verdict_key
from arena_learning.params import NONE, Params
from arena_learning.schema import Instruction, Response
from arena_learning.store import Store


def round_pairings(name: str, params: Params, instruction_ids: Sequence[str]) -> list[Pairing]:
    """Return who battles whom on which instruction of a round; a round without a target has no battles."""
    this = params.rounds[name]
    if this.target == NONE:
        return []
    opponents = params.opponents_of(name)
    found = pair_contestants(sorted(instruction_ids), this.target, opponents, params.battle.mode, params.seed)
    return [Pairing(*one) for one in found]


def count_stored_games(
    pairings: Iterable[Pairing],
    instructions: Mapping[str, Instruction],
    responses: Mapping[tuple[str, str], Response],
    judge: Judge,
    store: Store,
    *,
    both: bool,
) -> int:
    """Return how many games of some pairings, in ``both`` orders or in one, need not be asked of a judge (no jury).

    The store has them, or an answer was refused.
    """
    if not is_remembered(judge):
        return 0
    fingerprints = [None, *older_fingerprints(judge)]
    found = 0
    left = iter(pairings)
    while part := list(islice(left, PORTION)):
        shown = [
            one
            for instruction_id, a, b in part
            for x, y in (((a, b), (b, a)) if both and a != b else ((a, b),))
            if (one := _presentation(instruction_id, x, y, instructions, responses)) is not None
        ]
        keys = [
            [verdict_key(judge, one, fingerprint) for fingerprint in fingerprints]
            for one in shown
            if not is_unanswered(one)
        ]
        held = store.holds([key for each in keys for key in each])
        found += len(shown) - len(keys) + sum(any(key in held for key in each) for each in keys)
    return found


def _presentation(
    instruction_id: str,
    first: str,
    second: str,
    instructions: Mapping[str, Instruction],
    responses: Mapping[tuple[str, str], Response],
) -> Presentation | None:
    one, other = responses.get((instruction_id, first)), responses.get((instruction_id, second))
    if one is None or other is None or instruction_id not in instructions:
        return None
    return Presentation(instructions[instruction_id], one, other)
