"""The `judge` stage: from a round's responses to games and battles."""

from __future__ import annotations

from typing import Any

from arena_learning.arena import pair_contestants
from arena_learning.core import Paths, write_json
from arena_learning.judge.build import open_judge
from arena_learning.judge.play import Pairing, play_in_portions
from arena_learning.judge.recording import write_games
from arena_learning.params import NONE, Params
from arena_learning.schema import Instruction, Response, by_id, read_rows, rows_file
from arena_learning.store import Store


def judge_round(
    name: str, params: Params, paths: Paths, *, fresh: bool = False, retry: bool = False
) -> dict[str, Any]:
    """Judge a round's battles and return the stage's metrics. A round without a target has no battles.

    ``retry`` judges again what was unscored before.
    """
    this = params.rounds[name]
    instructions = by_id(read_rows(paths.split(this.split), Instruction))
    responses = {(r.instruction_id, r.contestant): r for r in read_rows(paths.responses(name), Response)}
    target = None if this.target == NONE else this.target
    pairings = pair_contestants(
        sorted(instructions), target, params.opponents_of(name), params.battle.mode, params.seed
    )
    pairings = pairings if target else []
    judge = open_judge(params.judge.name, params, paths)
    try:
        with (
            Store(paths.store, fresh=fresh) as store,
            rows_file(paths.games(name)) as games,
            rows_file(paths.battles(name)) as battles,
        ):
            played = play_in_portions(
                (Pairing(*p) for p in pairings),
                instructions,
                responses,
                judge,
                store,
                disagree=params.judge.disagree,
                max_refused=params.serving.max_refused,
                retry=retry,
            )
            recorded = write_games(played, responses, games, battles, this.target)
    finally:
        judge.close()
    metrics = {
        "judge": judge.label,
        **recorded.health,
        "target": this.target,
        "against": recorded.against,
        "seconds": round(recorded.seconds, 1),
        "tokens": recorded.tokens,
    }
    write_json(paths.stage_metrics(name, "judge"), metrics)
    return {**metrics, "judged": recorded.judged}
