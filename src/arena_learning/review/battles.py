"""The battles that people can review: two answers to an instruction, with what each judge said of them."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean, pvariance
from typing import NamedTuple

from arena_learning.core import Paths, canonical
from arena_learning.params import Params
from arena_learning.report import BattleView, read_battle_log
from arena_learning.schema import Game, Instruction

_POINTS = {"a": 1.0, "tie": 0.5, "b": 0.0}


class ReviewBattle(NamedTuple):
    """Two contestants' answers to an instruction.

    Attributes:
        key: digest of all that a reviewer sees, and of the contestants: another answer makes another battle.
        instruction: the instruction.
        a: the contestant that comes first in alphabetical order.
        b: the other one.
        text_a: its answer.
        text_b: the other one's.
        outcomes: the winner (``a``, ``b`` or ``tie``) by the label of each judge that scored the battle.
        points: points of ``a`` in each scored game of all judges: 1, 0 or, for a tie, 0.5.
    """

    key: str
    instruction: Instruction
    a: str
    b: str
    text_a: str
    text_b: str
    outcomes: dict[str, str]
    points: tuple[float, ...]

    @property
    def pair(self) -> tuple[str, str]:
        """The two contestants."""
        return self.a, self.b

    @property
    def disagreement(self) -> float:
        """Variance of the points: 0 if all judges said the same in both orders, 0.25 if they are divided in half."""
        return pvariance(self.points)

    @property
    def mean_points(self) -> float:
        """Mean points of ``a``, 0 to 1."""
        return fmean(self.points)


def read_review_battles(place: str, params: Params, paths: Paths) -> list[ReviewBattle]:
    """Return the battles of a round, or of the test set for ``arena``, that a judge has scored, in the file's order.

    Battles of a contestant that refused to answer are left out.

    Raises:
        ArenaError: no such round, or a missing file.
    """
    by_battle: dict[tuple[str, str, str], list[BattleView]] = defaultdict(list)
    log = read_battle_log(place, params, paths)
    for view in log.views(one for one in log.results if one.winner != "unscored"):
        refused = any(answer.finish_reason == "refused" for answer in view.answers.values())
        if not refused:
            by_battle[view.instruction.id, view.battle.a, view.battle.b].append(view)
    return [_battle(views) for views in by_battle.values()]


def battle_key(instruction: Instruction, a: str, b: str, text_a: str, text_b: str) -> str:
    """Return the digest that identifies a battle; ``a`` comes before ``b`` in alphabetical order."""
    turns = [turn.model_dump() for turn in instruction.turns]
    seen = canonical([instruction.id, turns, a, b, text_a, text_b])
    return hashlib.sha256(seen.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _battle(views: Sequence[BattleView]) -> ReviewBattle:
    """Return the battle of which each judge has a view."""
    battle, instruction = views[0].battle, views[0].instruction
    one, two = (views[0].answers[name].text for name in (battle.a, battle.b))
    return ReviewBattle(
        battle_key(instruction, battle.a, battle.b, one, two),
        instruction,
        battle.a,
        battle.b,
        one,
        two,
        {view.battle.judge: view.battle.winner for view in views},
        tuple(point for view in views for point in _points(view)),
    )


def _points(view: BattleView) -> list[float]:
    """Return the points of ``a`` in a judge's games; where there are none, in its battle."""
    games = [_of_game(game, view.battle.a) for game in view.games]
    return [point for point in games if point is not None] or [_POINTS[view.battle.winner]]


def _of_game(game: Game, name: str) -> float | None:
    if game.score_first is None or game.score_second is None:
        return None
    gap = game.score_first - game.score_second
    if game.first != name:
        gap = -gap
    return 0.5 if gap == 0 else float(gap > 0)
