"""Results of battles without their texts: what ratings, tables and figures need of hundreds of thousands of them.

A battle of a file takes some kilobytes in memory, most of it rationales; its result takes 200 bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from arena_learning.schema.row_files import iter_rows
from arena_learning.schema.rows import Battle, Winner


class BattleResult(NamedTuple):
    """A battle without its rationales; the fields are those of `Battle`.

    Example:
        >>> pair = {"instruction_id": "q", "category": "chat", "judge": "j", "a": "base", "b": "large"}
        >>> battle = Battle(**pair, winner="b", score_a=4, score_b=8, gap=4, games=2)
        >>> result = BattleResult.of(battle)
        >>> result.outcome("base"), result.margin("base"), result.other("base")
        ('lost', -4.0, 'large')
    """

    instruction_id: str
    category: str
    judge: str
    a: str
    b: str
    score_a: float | None
    score_b: float | None
    winner: Winner
    gap: float | None
    orders_agree: bool | None = None

    @classmethod
    def of(cls, battle: Battle) -> BattleResult:
        """Return a battle's result."""
        return cls(*(getattr(battle, field) for field in cls._fields))

    def margin(self, contestant: str) -> float | None:
        """Return the contestant's mean score minus the other's, or None if the battle is unscored."""
        if self.winner == "unscored" or self.score_a is None or self.score_b is None:
            return None
        gap = self.score_a - self.score_b
        return gap if contestant == self.a else -gap

    def outcome(self, contestant: str) -> str:
        """Return ``won``, ``lost``, ``tie`` or ``unscored``, from the contestant's point of view."""
        if self.winner in ("tie", "unscored"):
            return self.winner
        return "won" if self.winner == ("a" if contestant == self.a else "b") else "lost"

    def other(self, contestant: str) -> str:
        """Return the other contestant."""
        return self.b if contestant == self.a else self.a


AnyBattle = Battle | BattleResult


def battle_results(battles: Iterable[Battle]) -> Iterator[BattleResult]:
    """Yield the results of battles; equal names and ids are one object each, however many battles have them."""
    same: dict[object, object] = {}
    for battle in battles:
        values = (getattr(battle, field) for field in BattleResult._fields)
        yield BattleResult(*(same.setdefault((type(value), value), value) for value in values))  # type: ignore[arg-type]


def read_battle_results(path: Path) -> list[BattleResult]:
    """Read the results in a file of battles, in its order; errors as in `read_rows`."""
    return list(battle_results(iter_rows(path, Battle)))
