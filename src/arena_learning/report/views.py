"""The battles of a round's split or of the test set, each with its instruction, answers and games.

A round may have a million games, so only results are held; texts are read again, in one pass, for the battles that are
shown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from arena_learning.core import ArenaError, Paths, suggest
from arena_learning.params import NONE, Params
from arena_learning.pool import seeded_rank
from arena_learning.schema import (
    Battle,
    BattleResult,
    Game,
    Instruction,
    Response,
    iter_rows,
    read_battle_results,
)

ARENA = "arena"
_Key = tuple[str, str, str, str]


class BattleView(NamedTuple):
    """One battle with its instruction, both answers, and the games of both orders."""

    instruction: Instruction
    battle: Battle
    games: tuple[Game, ...]
    answers: dict[str, Response]

    @property
    def result(self) -> BattleResult:
        """The battle's result."""
        return BattleResult.of(self.battle)


class BattleLog(NamedTuple):
    """The results of a round's battles or of the test set's, in the order of the file, and the files that they are in.

    Attributes:
        name: the round, or ``arena``.
        results: of all battles.
        split: the file of instructions.
        battles: the file of battles.
        games: the file of games.
        responses: the files of answers.
    """

    name: str
    results: list[BattleResult]
    split: Path
    battles: Path
    games: Path
    responses: tuple[Path, ...]

    def of(self, contestant: str | None) -> list[BattleResult]:
        """Return the results of a contestant's battles."""
        return [one for one in self.results if contestant in (one.a, one.b)]

    def views(self, chosen: Iterable[BattleResult]) -> list[BattleView]:
        """Read the battles with these results, in their order, each with its texts.

        Raises:
            ArenaError: the instruction or an answer of a battle is missing.
        """
        wanted = [_key(one) for one in chosen]
        if not wanted:
            return []
        keys, asked = set(wanted), {key[1] for key in wanted}
        battles = {_key(b): b for b in iter_rows(self.battles, Battle) if _key(b) in keys}
        games: dict[_Key, list[Game]] = defaultdict(list)
        for game in iter_rows(self.games, Game):
            if game.instruction_id in asked:
                games[game.judge, game.instruction_id, *_ordered(game)].append(game)
        instructions = self._instructions(asked)
        answers = self.answers(asked)
        try:
            return [
                BattleView(
                    instructions[key[1]],
                    battles[key],
                    tuple(games.get(key, ())),
                    {name: answers[key[1], name] for name in key[2:]},
                )
                for key in wanted
            ]
        except KeyError as missing:
            raise ArenaError(
                f"{self.name}: a battle has no instruction or answer: {missing}",
                hint="the files come from different runs: run `arena repro`",
            ) from None

    def answers(self, asked: set[str]) -> dict[tuple[str, str], Response]:
        """Read the answers to some instructions, by (instruction id, contestant)."""
        return {
            (r.instruction_id, r.contestant): r
            for file in self.responses
            for r in iter_rows(file, Response)
            if r.instruction_id in asked
        }

    def instruction(self, instruction_id: str) -> Instruction | None:
        """Read an instruction; None if the split has no such one."""
        return self._instructions({instruction_id}).get(instruction_id)

    def ids(self) -> list[str]:
        """Read the ids of all instructions."""
        return [one.id for one in iter_rows(self.split, Instruction)]

    def _instructions(self, asked: set[str]) -> dict[str, Instruction]:
        return {one.id: one for one in iter_rows(self.split, Instruction) if one.id in asked}


def read_battle_log(name: str, params: Params, paths: Paths) -> BattleLog:
    """Read the battles of a round, or of the test set for the name ``arena``.

    Raises:
        ArenaError: no such round, or a missing file.
    """
    if name == ARENA:
        results = read_battle_results(paths.arena_battles)
        names = sorted({c for one in results for c in (one.a, one.b)})
        responses = tuple(paths.arena_responses(c) for c in names)
        return BattleLog(
            name, results, paths.split("test"), paths.arena_battles, paths.arena_games, responses
        )
    check_battle_log_name(name, params)
    split, battles = paths.split(params.rounds[name].split), paths.battles(name)
    return BattleLog(
        name, read_battle_results(battles), split, battles, paths.games(name), (paths.responses(name),)
    )


def check_battle_log_name(name: str, params: Params, *, arena: bool = True) -> None:
    """Raise an ArenaError if ``name`` is no round (and not ``arena``, unless that is excluded by ``arena=False``)."""
    known = [*params.ordered_rounds, *([ARENA] if arena else [])]
    if name not in known:
        raise ArenaError(f"no round '{name}'", where="params.yaml, rounds", hint=suggest(name, known))


def target_of(round_name: str, params: Params) -> str | None:
    """Return the round's target, or None for a round without battles."""
    target = params.rounds[round_name].target
    return None if target == NONE else target


def extremes(
    results: Sequence[BattleResult], contestant: str, outcome: str, count: int
) -> list[BattleResult]:
    """Return the contestant's widest losses or wins, at most one for each instruction.

    Args:
        results: any results; those without the contestant are ignored.
        contestant: the contestant's name.
        outcome: ``won`` or ``lost``.
        count: the most results to return.
    """
    own = [d for d in results if contestant in (d.a, d.b) and d.outcome(contestant) == outcome]
    widest: dict[str, BattleResult] = {}
    for one in sorted(own, key=lambda d: (-(d.gap or 0.0), d.instruction_id, d.other(contestant))):
        widest.setdefault(one.instruction_id, one)
    return list(widest.values())[:count]


def sample_results(results: Sequence[BattleResult], count: int, seed: int) -> list[BattleResult]:
    """Return ``count`` results drawn by a seeded hash, which does not depend on their order."""

    def rank(one: BattleResult) -> str:
        return seeded_rank(seed, "report", one.instruction_id, one.a, one.b)

    return sorted(results, key=rank)[:count]


def _key(battle: Battle | BattleResult) -> _Key:
    return battle.judge, battle.instruction_id, battle.a, battle.b


def _ordered(game: Game) -> tuple[str, str]:
    return (game.first, game.second) if game.first < game.second else (game.second, game.first)
