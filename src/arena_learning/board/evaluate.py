"""The `evaluate` stage: every pair of contestants meets on every test instruction, under every judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from arena_learning.arena.battle import ask_contestant
from arena_learning.errors import ArenaError
from arena_learning.judge.build import open_judge
from arena_learning.judge.health import judge_health
from arena_learning.judge.play import Judged, Pairing, play
from arena_learning.params import Params
from arena_learning.paths import Paths
from arena_learning.rows import (
    Battle,
    Game,
    Instruction,
    Response,
    by_id,
    read_json,
    read_rows,
    write_json,
    write_rows,
)
from arena_learning.store import Store

Responses = Mapping[tuple[str, str], Response]


def evaluate_test(params: Params, paths: Paths, *, fresh: bool = False) -> dict[str, Any]:
    """Play the test set between all contestants of params.yaml and return the stage's metrics."""
    instructions = read_rows(paths.split("test"), Instruction)
    responses = read_arena_responses(params.contestants, paths)
    judged = play_all(params.contestants, instructions, responses, params, paths, fresh=fresh)
    games = [game for one in judged.values() for game in one.games]
    battles = [battle for one in judged.values() for battle in one.battles]
    write_rows(paths.arena_games, games)
    write_rows(paths.arena_battles, battles)
    metrics = {
        name: {
            "judge": one.judge,
            **judge_health(one.games, one.battles, responses),
            "seconds": round(one.seconds, 1),
            "tokens": one.tokens,
        }
        for name, one in judged.items()
    }
    write_json(paths.arena_metrics, metrics)
    return {**metrics, "paid": sum(one.paid for one in judged.values())}


def judge_names(paths: Paths) -> dict[str, str]:
    """Return the name in params.yaml of each judge whose label stands on the test set's games."""
    return {metrics["judge"]: name for name, metrics in read_json(paths.arena_metrics).items()}


def read_arena_battles(paths: Paths) -> dict[str, list[Battle]]:
    """Read the battles of the test set by the judge's name, in the order of ``evaluate.judges``."""
    names = judge_names(paths)
    battles: dict[str, list[Battle]] = {name: [] for name in names.values()}
    for battle in read_rows(paths.arena_battles, Battle):
        battles[names[battle.judge]].append(battle)
    return battles


class Held(NamedTuple):
    """Battles on held-out instructions that are no DVC out: by judge, with the responses they judge."""

    battles: dict[str, list[Battle]]
    games: dict[str, list[Game]]
    responses: Responses


def evaluate_split(
    split: str, contestants: Sequence[str], params: Params, paths: Paths, *, fresh: bool = False
) -> Held:
    """Answer and play any split between ``contestants`` without writing an out: what tuning looks at."""
    instructions = read_rows(paths.split(split), Instruction)
    responses = {
        (r.instruction_id, name): r
        for name in contestants
        for r in ask_contestant(name, instructions, params, paths, fresh=fresh).responses
    }
    judged = play_all(contestants, instructions, responses, params, paths, fresh=fresh)
    return Held(
        {name: one.battles for name, one in judged.items()},
        {name: one.games for name, one in judged.items()},
        responses,
    )


def read_arena_responses(contestants: Sequence[str], paths: Paths) -> dict[tuple[str, str], Response]:
    """Read the contestants' answers to the test set, by (instruction id, contestant)."""
    return {
        (r.instruction_id, name): r
        for name in contestants
        for r in read_rows(paths.arena_responses(name), Response)
    }


def play_all(
    contestants: Sequence[str],
    instructions: Sequence[Instruction],
    responses: Responses,
    params: Params,
    paths: Paths,
    *,
    fresh: bool = False,
) -> dict[str, Judged]:
    """Let all ``contestants`` play all under every judge of ``evaluate.judges``; by judge."""
    pairings = [Pairing(i.id, a, b) for i in instructions for a, b in combinations(sorted(contestants), 2)]
    known = by_id(instructions)
    judged = {}
    for name in params.evaluate.judges:
        judge = open_judge(name, params, paths)
        try:
            with Store(paths.store, fresh=fresh) as store:
                judged[name] = play(pairings, known, responses, judge, store, disagree=params.judge.disagree)
        finally:
            judge.close()
    labels = [one.judge for one in judged.values()]
    if len(set(labels)) < len(labels):
        raise ArenaError(
            f"two judges are the same one ({', '.join(labels)})",
            where="params.yaml, evaluate.judges",
            mend="name each judge once",
        )
    return judged
