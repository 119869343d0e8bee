"""Write games and battles portion by portion and count the figures of a stage's metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from arena_learning.judge.health import Health, Wins
from arena_learning.judge.play import PlayedGames
from arena_learning.schema import Response, Row

Write = Callable[[Iterable[Row]], None]


class WrittenGames(NamedTuple):
    """The figures of `health.Health` and `health.Wins`, and the cost (see `play.PlayedGames`)."""

    health: dict[str, Any]
    against: dict[str, dict[str, int]]
    judged: int
    seconds: float
    tokens: int


def write_games(
    portions: Iterable[PlayedGames],
    responses: Mapping[tuple[str, str], Response],
    games: Write,
    battles: Write,
    contestant: str = "",
) -> WrittenGames:
    """Write each portion as it comes, keeping only counts.

    Args:
        portions: as `play.play_in_portions` yields them.
        responses: by (instruction id, contestant).
        games: writes games (a writer of `schema.rows_file`).
        battles: writes battles.
        contestant: the contestant whose wins and losses are counted.
    """
    health, wins = Health(responses), Wins(contestant)
    judged, seconds, tokens = 0, 0.0, 0
    for part in portions:
        games(part.games)
        battles(part.battles)
        health.add(part.games, part.battles)
        wins.add(part.battles)
        judged, seconds, tokens = judged + part.judged, seconds + part.seconds, tokens + part.tokens
    return WrittenGames(health.figures(), wins.figures(), judged, seconds, tokens)
