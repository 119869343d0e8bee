"""Judge a round's battles while its contestants still answer: as soon as both answers of a battle are in the store.

The `judge` stage needs the answers of the `battle` stage in a file, so it begins when the last answer is there. Where
the judge has a device of its own or is an endpoint, most verdicts can be made before that. They go to the store alone,
where the stage finds them; no file is written.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from arena_learning.arena import Contestant, StoredAnswers, sampling_of
from arena_learning.core import ArenaError, Paths, check_deadline, is_locked, logger
from arena_learning.engines import open_engine
from arena_learning.judge.base import Judge, is_batch_exact
from arena_learning.judge.build import open_judge
from arena_learning.judge.planned import round_pairings
from arena_learning.judge.play import Pairing, play_in_portions
from arena_learning.params import NONE, Params
from arena_learning.schema import Instruction, Response, by_id, read_rows
from arena_learning.store import Account, Store

_POLL_SECONDS = 5.0
_SHARE = (
    50  # a call of the judge takes a fiftieth of all battles or more, so that its engine gets whole batches
)


def judge_ahead(name: str, params: Params, paths: Paths) -> dict[str, Any]:
    """Judge a round's battles as their answers come, until all are judged or the `battle` stage has ended.

    A judge whose verdict depends on its batch is asked when all answers are there, in the batches of the stage.

    Returns:
        ``battles`` of the round, how many were judged here or before (``ready``), and the new verdicts (``judged``).

    Raises:
        ArenaError: the round has no battles, the judge cannot be asked, or the budget is used up; its verdicts so far
            stay stored.
    """
    this = params.rounds[name]
    if this.target == NONE:
        raise ArenaError(f"the round '{name}' has no battles", where=f"params.yaml, rounds.{name}.target")
    instructions = read_rows(paths.split(this.split), Instruction)
    known = by_id(instructions)
    todo = round_pairings(name, params, list(known))
    battles = len(todo)
    found: dict[tuple[str, str], Response] = {}
    judged = 0
    with (
        _opened([this.target, *params.opponents_of(name)], instructions, params, paths) as contestants,
        _judge(params, paths) as judge,
        Store(paths.store, account=Account("judge", params, name)) as store,
    ):
        sources = [StoredAnswers(contestant, instructions, store) for contestant in contestants]
        while todo:
            check_deadline(f"{len(todo)} battles of '{name}'")
            # Asked before the answers are read: what comes after the end of the stage is read once more.
            running = is_locked(paths.lock(f"battle {name}"))
            found |= {(r.instruction_id, r.contestant): r for source in sources for r in source.new()}
            ready = _ready(todo, found, judge, battles, last=not running)
            if ready:
                for part in play_in_portions(
                    ready, known, found, judge, store, max_refused=1.0, remember_refused=False
                ):
                    judged += part.judged
                done = set(ready)
                todo = [one for one in todo if one not in done]
            elif running:
                time.sleep(_POLL_SECONDS)
            else:
                logger.info(
                    f"{name}: {len(todo)} battles lack an answer, and `arena battle {name}` is not running"
                )
                break
    return {"battles": battles, "ready": battles - len(todo), "judged": judged}


def _ready(
    todo: Sequence[Pairing],
    found: Mapping[tuple[str, str], Response],
    judge: Judge,
    total: int,
    *,
    last: bool,
) -> list[Pairing]:
    """Return the battles to judge now: none if there are too few of them and more will come."""
    ready = [
        one for one in todo if (one.instruction_id, one.a) in found and (one.instruction_id, one.b) in found
    ]
    if len(ready) == len(todo):
        return ready
    if not is_batch_exact(judge) or (len(ready) * _SHARE < total and not last):
        return []
    return ready


@contextmanager
def _opened(
    names: Sequence[str], instructions: Sequence[Instruction], params: Params, paths: Paths
) -> Iterator[list[Contestant]]:
    """Open contestants for the keys of their answers; none of them is asked, so none loads its model."""
    with ExitStack() as opened:
        contestants = []
        for name in names:
            engine = open_engine(name, params, paths, instructions)
            opened.callback(engine.close)
            contestants.append(Contestant(name, engine, sampling_of(name, params)))
        yield contestants


@contextmanager
def _judge(params: Params, paths: Paths) -> Iterator[Judge]:
    judge = open_judge(params.judge.name, params, paths)
    try:
        yield judge
    finally:
        judge.close()
