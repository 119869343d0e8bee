"""The `evaluate` stage: judge the contestants' answers to the test set under every judge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from arena_learning.arena import ask_contestant
from arena_learning.core import ArenaError, Paths, read_json, write_json
from arena_learning.judge import open_judge, play_in_portions, write_games
from arena_learning.leaderboard.schedule import Play, all_pairings, play_scheduled
from arena_learning.params import Params
from arena_learning.pool import fingerprint
from arena_learning.schema import (
    Battle,
    BattleResult,
    Game,
    Instruction,
    Response,
    by_id,
    read_battle_results,
    read_rows,
    rows_file,
)
from arena_learning.store import Account, Store

Responses = Mapping[tuple[str, str], Response]


def evaluate_test(
    params: Params, paths: Paths, *, fresh: bool = False, retry: bool = False
) -> dict[str, Any]:
    """Judge the battles of all contestants of params.yaml on the test set and return the stage's metrics.

    ``retry`` judges again what was unscored before.
    """
    instructions = read_rows(paths.split("test"), Instruction)
    responses = read_arena_responses(params.contestants, paths)
    metrics, known = {}, fingerprint(instructions)
    judged = 0
    with rows_file(paths.arena_games) as games, rows_file(paths.arena_battles) as battles:
        for name, (label, play) in each_judge(
            instructions, responses, params, paths, fresh=fresh, retry=retry
        ):
            one = write_games(play_scheduled(instructions, params, play), responses, games, battles)
            cost = {"seconds": round(one.seconds, 1), "tokens": one.tokens}
            metrics[name] = {"judge": label, "test_set": known, **one.health, **cost}
            judged += one.judged
    write_json(paths.arena_metrics, metrics)
    return {**metrics, "judged": judged}


def judge_names(paths: Paths) -> dict[str, str]:
    """Return judges' names in params.yaml by the label on the test set's games."""
    return {metrics["judge"]: name for name, metrics in read_json(paths.arena_metrics).items()}


def read_arena_battles(paths: Paths) -> dict[str, list[BattleResult]]:
    """Read the results of the test set's battles by judge name, sorted by name like the metrics file."""
    names = judge_names(paths)
    battles: dict[str, list[BattleResult]] = {name: [] for name in names.values()}
    for battle in read_battle_results(paths.arena_battles):
        battles[names[battle.judge]].append(battle)
    return battles


class HeldOutBattles(NamedTuple):
    """Battles on held-out instructions, by judge, with the judged responses; they are no output of a DVC stage."""

    battles: dict[str, list[Battle]]
    games: dict[str, list[Game]]
    responses: Responses


def evaluate_split(
    split: str, contestants: Sequence[str], params: Params, paths: Paths, *, fresh: bool = False
) -> HeldOutBattles:
    """Answer and judge any split between ``contestants`` without writing a stage's output; tuning uses this."""
    instructions = read_rows(paths.split(split), Instruction)
    responses = {
        (r.instruction_id, name): r
        for name in contestants
        for r in ask_contestant(name, instructions, params, paths, fresh=fresh).responses
    }
    held = HeldOutBattles({}, {}, responses)
    for name, (_, play) in each_judge(instructions, responses, params, paths, fresh=fresh):
        held.battles[name], held.games[name] = [], []
        for part in play(all_pairings(contestants, instructions)):
            held.battles[name] += part.battles
            held.games[name] += part.games
    return held


def read_arena_responses(contestants: Sequence[str], paths: Paths) -> dict[tuple[str, str], Response]:
    """Read the contestants' answers to the test set, by (instruction id, contestant)."""
    return {
        (r.instruction_id, name): r
        for name in contestants
        for r in read_rows(paths.arena_responses(name), Response)
    }


def each_judge(
    instructions: Sequence[Instruction],
    responses: Responses,
    params: Params,
    paths: Paths,
    *,
    fresh: bool = False,
    retry: bool = False,
) -> Iterator[tuple[str, tuple[str, Play]]]:
    """Open the judges of ``evaluate.judges`` one after the other.

    Yields:
        The judge's name, its label, and a function that judges pairings (`play_in_portions`); all its results must be
        read before the next judge is opened.
    """
    known = by_id(instructions)
    labels: dict[str, str] = {}
    for name in params.evaluate.judges:
        judge = open_judge(name, params, paths)
        try:
            if judge.label in labels:
                raise ArenaError(
                    f"{labels[judge.label]} and {name} are the same judge ({judge.label})",
                    where="params.yaml, evaluate.judges",
                    hint="remove one of the two",
                )
            labels[judge.label] = name
            with Store(paths.store, fresh=fresh, account=Account("evaluate", params)) as store:
                play = partial(
                    play_in_portions,
                    instructions=known,
                    responses=responses,
                    judge=judge,
                    store=store,
                    disagree=params.judge.disagree,
                    max_refused=params.serving.max_refused,
                    retry=retry,
                )
                yield name, (judge.label, play)
        finally:
            judge.close()
