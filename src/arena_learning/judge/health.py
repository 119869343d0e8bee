"""Diagnostics of a judge from its battles: ties, flips, unscored battles, position bias and length bias."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from statistics import fmean
from typing import Any

from arena_learning.core import words
from arena_learning.schema import AnyBattle, Battle, Game, Response

_RESULTS = ("wins", "losses", "ties", "unscored")


def judge_health(
    games: Sequence[Game], battles: Sequence[Battle], responses: Mapping[tuple[str, str], Response]
) -> dict[str, Any]:
    """Return the counts and shares of `Health.figures`, which a reader needs before trusting the battles."""
    health = Health(responses)
    health.add(games, battles)
    return health.figures()


class Health:
    """Counts over games and battles, which are added in portions and not kept."""

    def __init__(self, responses: Mapping[tuple[str, str], Response]) -> None:
        self._responses = responses
        self._counts: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._histogram: Counter[str] = Counter()
        self._gaps = array("d")
        self._jury = JuryHealth()

    def add(self, games: Sequence[Game], battles: Sequence[Battle]) -> None:
        """Count games and battles; all games of a battle must come in one call."""
        # A pair with a single game was shown in an unknown order: it says nothing about position bias.
        played = Counter(_pair(game) for game in games)
        decided = [
            g
            for g in games
            if g.unscored is None and g.score_first != g.score_second and played[_pair(g)] > 1
        ]
        self._jury.add(games)
        both = [b for b in battles if b.orders_agree is not None]
        scored = [b for b in battles if b.winner != "unscored"]
        longer, unequal = self._longer(scored)
        self._reasons.update(g.unscored for g in games if g.unscored)
        self._histogram.update(f"{b.gap or 0.0:04.1f}" for b in scored)
        self._gaps.extend(b.gap or 0.0 for b in scored)
        self._counts.update(
            games=len(games),
            battles=len(battles),
            scored=len(scored),
            ties=sum(b.winner == "tie" for b in battles),
            both=len(both),
            flips=sum(not b.orders_agree for b in both),
            decided=len(decided),
            first=sum((g.score_first or 0) > (g.score_second or 0) for g in decided),
            longer=longer,
            unequal=unequal,
        )

    def figures(self) -> dict[str, Any]:
        """Return counts, and shares from 0 to 1.

        ``first_position_share`` is over the decided games; ``longer_wins`` over the decided battles whose answers
        differ in length; ``flip_rate`` over the battles with both orders scored. A jury's have those of `JuryHealth`
        too.
        """
        n = self._counts
        unscored = n["battles"] - n["scored"]
        return {
            "games": n["games"],
            "games_unscored": self._reasons.total(),
            "unscored_reasons": dict(sorted(self._reasons.items())),
            "battles": n["battles"],
            "battles_unscored": unscored,
            "ties": n["ties"],
            "flips": n["flips"],
            "tie_rate": _share(n["ties"], n["scored"]),
            "flip_rate": _share(n["flips"], n["both"]),
            "unscored_rate": _share(unscored, n["battles"]),
            "first_position_share": _share(n["first"], n["decided"]),
            "longer_wins": _share(n["longer"], n["unequal"]),
            "mean_gap": fmean(self._gaps) if self._gaps else None,
            "gap_histogram": dict(sorted(self._histogram.items())),
            **self._jury.figures(),
        }

    def _longer(self, battles: Iterable[Battle]) -> tuple[int, int]:
        """Return the number of decided battles with unequal lengths that the longer answer won, and of all of them."""
        longer = total = 0
        for battle in battles:
            if battle.winner not in ("a", "b"):
                continue
            sides = ((battle.instruction_id, name) for name in (battle.a, battle.b))
            lengths = [_length(self._responses[side].text) for side in sides]
            if lengths[0] != lengths[1]:
                total += 1
                longer += (lengths[0] > lengths[1]) == (battle.winner == "a")
        return longer, total


class JuryHealth:
    """Counts how the members of a jury voted; games of other judges count nothing."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._spread = 0.0

    def add(self, games: Iterable[Game]) -> None:
        """Count the games of a jury."""
        for game in games:
            if game.jury is None:
                continue
            n, scored = game.jury, game.unscored is None
            self._counts.update(asked=n.scored + n.missing, missing=n.missing, scored=scored)
            self._spread += n.spread
            if scored and game.first != game.second:  # the scores of one answer decide nothing
                self._counts.update(votes=n.scored, against=n.against)

    def figures(self) -> dict[str, float | None]:
        """Return the shares and the spread; nothing without games of a jury.

        ``members_against``: votes of members that differ from the jury's outcome, of all votes in scored games.
        ``members_missing``: verdicts without scores, of all verdicts of members. ``members_spread``: highest less
        lowest score of the members, as a mean over the scored games.
        """
        n = self._counts
        if not n["asked"]:
            return {}
        return {
            "members_against": _share(n["against"], n["votes"]),
            "members_missing": _share(n["missing"], n["asked"]),
            "members_spread": self._spread / n["scored"] if n["scored"] else None,
        }


def win_counts(battles: Iterable[AnyBattle], contestant: str) -> dict[str, dict[str, int]]:
    """Return the contestant's wins, losses, ties and unscored battles against each other contestant."""
    wins = Wins(contestant)
    wins.add(battles)
    return wins.figures()


class Wins:
    """The results of one contestant against each other contestant, added in portions."""

    def __init__(self, contestant: str) -> None:
        self._contestant = contestant
        self._table: dict[str, Counter[str]] = {}

    def add(self, battles: Iterable[AnyBattle]) -> None:
        """Count the battles that the contestant takes part in."""
        for battle in battles:
            if self._contestant not in (battle.a, battle.b):
                continue
            side, other = ("a", battle.b) if battle.a == self._contestant else ("b", battle.a)
            result = {"tie": "ties", "unscored": "unscored"}.get(battle.winner) or (
                "wins" if battle.winner == side else "losses"
            )
            self._table.setdefault(other, Counter())[result] += 1

    def figures(self) -> dict[str, dict[str, int]]:
        """Return the counts by the other contestant's name."""
        return {other: {key: n[key] for key in _RESULTS} for other, n in sorted(self._table.items())}


@lru_cache(maxsize=256)
def _length(text: str) -> int:
    """Return a text's number of words; an answer's battles follow each other, so it is split once."""
    return len(words(text))


def _pair(game: Game) -> tuple[str, str, str, str]:
    first, second = sorted((game.first, game.second))
    return game.instruction_id, game.judge, first, second


def _share(count: int, total: int) -> float | None:
    return count / total if total else None
