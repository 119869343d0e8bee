"""The battles of a round's split or of the test set, each with its instruction, answers and games."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from arena_learning.core import ArenaError, Paths, suggest
from arena_learning.params import NONE, Params
from arena_learning.pool import seeded_rank
from arena_learning.schema import Battle, Game, Instruction, Response, by_id, read_rows

ARENA = "arena"


class BattleView(NamedTuple):
    """One battle with its instruction, both answers, and the games of both orders."""

    instruction: Instruction
    battle: Battle
    games: tuple[Game, ...]
    answers: dict[str, Response]

    def margin(self, contestant: str) -> float | None:
        """Return the contestant's mean score minus the other's, or None if the battle is unscored."""
        battle = self.battle
        if battle.winner == "unscored" or battle.score_a is None or battle.score_b is None:
            return None
        gap = battle.score_a - battle.score_b
        return gap if contestant == battle.a else -gap

    def outcome(self, contestant: str) -> str:
        """Return ``won``, ``lost``, ``tie`` or ``unscored``, from the contestant's point of view."""
        if self.battle.winner in ("tie", "unscored"):
            return self.battle.winner
        return "won" if self.battle.winner == ("a" if contestant == self.battle.a else "b") else "lost"

    def other(self, contestant: str) -> str:
        """Return the other contestant."""
        return self.battle.b if contestant == self.battle.a else self.battle.a


class BattleLog(NamedTuple):
    """The battles of a round or of the test set: instructions by id, and battle views in the order of the file."""

    name: str
    instructions: dict[str, Instruction]
    views: list[BattleView]
    responses: dict[tuple[str, str], Response]


def read_battle_log(name: str, params: Params, paths: Paths) -> BattleLog:
    """Read the battles of a round, or of the test set for the name ``arena``.

    Raises:
        ArenaError: no such round, a missing file, or a battle whose instruction or answer is missing.
    """
    if name == ARENA:
        instructions = by_id(read_rows(paths.split("test"), Instruction))
        battles, games = read_rows(paths.arena_battles, Battle), read_rows(paths.arena_games, Game)
        names = sorted({c for b in battles for c in (b.a, b.b)})
        rows = [r for c in names for r in read_rows(paths.arena_responses(c), Response)]
    else:
        check_battle_log_name(name, params)
        instructions = by_id(read_rows(paths.split(params.rounds[name].split), Instruction))
        battles, games = read_rows(paths.battles(name), Battle), read_rows(paths.games(name), Game)
        rows = read_rows(paths.responses(name), Response)
    responses = {(r.instruction_id, r.contestant): r for r in rows}
    return BattleLog(
        name, instructions, _battle_views(name, battles, games, instructions, responses), responses
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


def extremes(views: Sequence[BattleView], contestant: str, outcome: str, count: int) -> list[BattleView]:
    """Return the contestant's widest losses or wins, at most one for each instruction.

    Args:
        views: any views; those without the contestant are ignored.
        contestant: the contestant's name.
        outcome: ``won`` or ``lost``.
        count: the most views to return.
    """
    own = [d for d in views if contestant in (d.battle.a, d.battle.b) and d.outcome(contestant) == outcome]
    widest: dict[str, BattleView] = {}
    for view in sorted(own, key=lambda d: (-(d.battle.gap or 0.0), d.instruction.id, d.other(contestant))):
        widest.setdefault(view.instruction.id, view)
    return list(widest.values())[:count]


def sample_views(views: Sequence[BattleView], count: int, seed: int) -> list[BattleView]:
    """Return ``count`` views drawn by a seeded hash, which does not depend on their order."""

    def rank(view: BattleView) -> str:
        return seeded_rank(seed, "report", view.instruction.id, view.battle.a, view.battle.b)

    return sorted(views, key=rank)[:count]


def _battle_views(
    place: str,
    battles: Sequence[Battle],
    games: Sequence[Game],
    instructions: Mapping[str, Instruction],
    responses: Mapping[tuple[str, str], Response],
) -> list[BattleView]:
    played: dict[tuple[str, str, str, str], list[Game]] = defaultdict(list)
    for game in games:
        a, b = sorted((game.first, game.second))
        played[game.judge, game.instruction_id, a, b].append(game)
    views = []
    for battle in battles:
        own = tuple(played.get((battle.judge, battle.instruction_id, battle.a, battle.b), ()))
        try:
            answers = {c: responses[battle.instruction_id, c] for c in (battle.a, battle.b)}
            views.append(BattleView(instructions[battle.instruction_id], battle, own, answers))
        except KeyError as missing:
            raise ArenaError(
                f"{place}: a battle on '{battle.instruction_id}' has no instruction or answer: {missing}",
                hint="the files come from different runs: run `arena repro`",
            ) from None
    return views
