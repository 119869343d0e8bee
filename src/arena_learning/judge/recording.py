"""Writing what is played, portion by portion, with the figures that stand in a stage's metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from arena_learning.judge.health import Health, Wins
from arena_learning.judge.play import Judged
from arena_learning.schema.rows import Response, Row

Write = Callable[[Iterable[Row]], None]


class Recorded(NamedTuple):
    """What was written: the figures of `health.Health` and `health.Wins`, and the cost (see `play.Judged`)."""

    health: dict[str, Any]
    against: dict[str, dict[str, int]]
    paid: int
    seconds: float
    tokens: int


def record(
    portions: Iterable[Judged],
    responses: Mapping[tuple[str, str], Response],
    games: Write,
    battles: Write,
    contestant: str = "",
) -> Recorded:
    """Write each portion as it comes and keep nothing of it but counts.

    Args:
        portions: as `play.portions` yields them.
        responses: by (instruction id, contestant).
        games: takes the games, as `rows.rows_file` gives it.
        battles: takes the battles.
        contestant: whose wins and losses are counted.
    """
    health, wins = Health(responses), Wins(contestant)
    paid, seconds, tokens = 0, 0.0, 0
    for part in portions:
        games(part.games)
        battles(part.battles)
        health.add(part.games, part.battles)
        wins.add(part.battles)
        paid, seconds, tokens = paid + part.paid, seconds + part.seconds, tokens + part.tokens
    return Recorded(health.figures(), wins.figures(), paid, seconds, tokens)
