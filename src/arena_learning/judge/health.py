"""What a set of battles says about its judge: ties, flips, unscored, position and length bias."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from arena_learning.points import words
from arena_learning.rows import Battle, Game, Response


def judge_health(
    games: Sequence[Game], battles: Sequence[Battle], responses: Mapping[tuple[str, str], Response]
) -> dict[str, Any]:
    """Return counts and shares that a reader needs before trusting the battles.

    Shares are of 1. ``first_position_share`` is of the decided games, ``longer_wins`` of the decided battles whose
    answers differ in length, ``flip_rate`` of the battles with both orders scored.
    """
    # A pair with one game was played in an order that nobody recorded: it says nothing about positions.
    played = Counter(_pair(game) for game in games)
    decided = [
        g for g in games if g.unscored is None and g.score_first != g.score_second and played[_pair(g)] > 1
    ]
    both = [b for b in battles if b.orders_agree is not None]
    scored = [b for b in battles if b.winner != "unscored"]
    return {
        "games": len(games),
        "games_unscored": sum(g.unscored is not None for g in games),
        "unscored_reasons": dict(sorted(Counter(g.unscored for g in games if g.unscored).items())),
        "battles": len(battles),
        "battles_unscored": len(battles) - len(scored),
        "ties": sum(b.winner == "tie" for b in battles),
        "flips": sum(not b.orders_agree for b in both),
        "tie_rate": _share(sum(b.winner == "tie" for b in battles), len(scored)),
        "flip_rate": _share(sum(not b.orders_agree for b in both), len(both)),
        "unscored_rate": _share(len(battles) - len(scored), len(battles)),
        "first_position_share": _share(
            sum((g.score_first or 0) > (g.score_second or 0) for g in decided), len(decided)
        ),
        "longer_wins": _longer_wins(scored, responses),
        "mean_gap": fmean(b.gap or 0.0 for b in scored) if scored else None,
        "gap_histogram": dict(sorted(Counter(f"{b.gap or 0.0:04.1f}" for b in scored).items())),
    }


def win_counts(battles: Sequence[Battle], contestant: str) -> dict[str, dict[str, int]]:
    """Return the contestant's wins, losses, ties and unscored battles against each other contestant."""
    table: dict[str, Counter[str]] = {}
    for battle in battles:
        if contestant not in (battle.a, battle.b):
            continue
        side, other = ("a", battle.b) if battle.a == contestant else ("b", battle.a)
        result = {"tie": "ties", "unscored": "unscored"}.get(battle.winner) or (
            "wins" if battle.winner == side else "losses"
        )
        table.setdefault(other, Counter())[result] += 1
    return {
        other: {key: counts[key] for key in ("wins", "losses", "ties", "unscored")}
        for other, counts in sorted(table.items())
    }


def _pair(game: Game) -> tuple[str, str, str, str]:
    first, second = sorted((game.first, game.second))
    return game.instruction_id, game.judge, first, second


def _longer_wins(battles: Sequence[Battle], responses: Mapping[tuple[str, str], Response]) -> float | None:
    longer = total = 0
    for battle in battles:
        if battle.winner not in ("a", "b"):
            continue
        lengths = [len(words(responses[battle.instruction_id, c].text)) for c in (battle.a, battle.b)]
        if lengths[0] != lengths[1]:
            total += 1
            longer += (lengths[0] > lengths[1]) == (battle.winner == "a")
    return _share(longer, total)


def _share(count: int, total: int) -> float | None:
    return count / total if total else None
