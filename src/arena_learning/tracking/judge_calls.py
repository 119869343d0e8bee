"""A sample of the judges' games as MLflow shows them: what the judge saw, and what it said.

This module does not import MLflow, so the content can be tested without it.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import nsmallest
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from arena_learning.core import Paths, canonical, redacted
from arena_learning.leaderboard import Document, mapping_at, number_at, read_document
from arena_learning.params import Params
from arena_learning.pool import seeded_rank
from arena_learning.schema import Game, Instruction, Response, iter_rows

R = TypeVar("R", Instruction, Response)
TEST = "test"  # in place of a round's name
_LAYOUT = 1  # part of every digest; increase it when the same game is shown differently


@dataclass(frozen=True)
class JudgeCall:
    """A game with its texts.

    Attributes:
        round: the round, or ``test``.
        game: the judge's verdict.
        instruction: what was asked.
        first: the response that was presented first.
        second: the other response.
        seconds: mean duration of the judge's games; not in the digest.
        ended: when the games were written, in seconds since 1970; not in the digest.
    """

    round: str
    game: Game
    instruction: Instruction
    first: str
    second: str
    seconds: float = 0.0
    ended: float = 0.0

    @property
    def key(self) -> str:
        """What identifies the game within a flywheel; it is shown, so it holds no password either."""
        return redacted("/".join((self.round, *_names(self.game))))

    def inputs(self) -> dict[str, Any]:
        """Return what the judge saw."""
        asked = self.instruction
        known = {"reference": asked.reference, "rubric": list(asked.rubric)}
        return {
            "messages": [turn.model_dump(mode="json") for turn in asked.turns],
            "first": self.first,
            "second": self.second,
            **{key: value for key, value in known.items() if value},
        }

    def outputs(self) -> dict[str, Any]:
        """Return what the judge said."""
        kept = ("score_first", "score_second", "rationale", "unscored", "attempts", "tokens", "jury")
        row = self.game.model_dump(mode="json")
        if self.game.unscored is not None:  # may quote what an endpoint said
            row["unscored"] = redacted(self.game.unscored)
        return {"outcome": self.outcome, **{key: row[key] for key in kept if row.get(key) is not None}}

    @property
    def outcome(self) -> str:
        """The judge's verdict: ``first``, ``second``, ``tie`` or ``unscored``."""
        one, other = self.game.score_first, self.game.score_second
        if one is None or other is None:
            return "unscored"
        return "tie" if one == other else "first" if one > other else "second"

    def tags(self) -> dict[str, str]:
        """Return what the trace is found by."""
        return {
            "arena.judge": redacted(self.game.judge),
            "arena.round": self.round,
            "arena.instruction_id": self.game.instruction_id,
            "arena.category": self.instruction.category,
            "arena.first": self.game.first,
            "arena.second": self.game.second,
        }

    def digest(self) -> str:
        """Return the SHA-256 of all that the trace shows, except times."""
        shown = [_LAYOUT, self.inputs(), self.outputs(), self.tags()]
        return hashlib.sha256(canonical(shown).encode()).hexdigest()


class JudgeCalls(NamedTuple):
    """The drawn calls, and how many more were drawn whose instruction or responses are missing."""

    calls: list[JudgeCall]
    incomplete: int


def draw_judge_calls(params: Params, paths: Paths) -> JudgeCalls:
    """Draw ``track.traces`` games at random, with the seed, from all games of the rounds and of the test set.

    The draw depends on the games alone: a later round replaces few of them.

    Raises:
        ArenaError: a file is malformed.
    """
    if not params.track.traces:
        return JudgeCalls([], 0)
    # There may be millions of games: only those that are drawn are held.
    ranked = (
        (seeded_rank(params.seed, "traces", place, *_names(game)), place, game)
        for place, file in _places(params, paths)
        if file.is_file()
        for game in iter_rows(file, Game)
    )
    drawn: dict[str, list[Game]] = defaultdict(list)
    for _, place, game in nsmallest(params.track.traces, ranked, key=lambda one: one[0]):
        drawn[place].append(game)
    calls = [call for place, games in drawn.items() for call in _with_texts(place, games, params, paths)]
    return JudgeCalls(calls, sum(map(len, drawn.values())) - len(calls))


def _names(game: Game) -> tuple[str, str, str, str]:
    return game.judge, game.instruction_id, game.first, game.second


def _places(params: Params, paths: Paths) -> list[tuple[str, Path]]:
    return [*((name, paths.games(name)) for name in params.ordered_rounds), (TEST, paths.arena_games)]


def _with_texts(place: str, games: list[Game], params: Params, paths: Paths) -> Iterator[JudgeCall]:
    split = TEST if place == TEST else params.rounds[place].split
    wanted = {(game.instruction_id, name) for game in games for name in (game.first, game.second)}
    ids = {game.instruction_id for game in games}
    asked = {one.id: one for one in _rows_of(paths.split(split), Instruction) if one.id in ids}
    if place == TEST:
        names = sorted({name for game in games for name in (game.first, game.second)})
        files = [paths.arena_responses(name) for name in names]
        metrics = {str(own.get("judge")): own for own in _parts(read_document(paths.arena_metrics))}
    else:
        files = [paths.responses(place)]
        own = read_document(paths.stage_metrics(place, "judge"))
        metrics = {str(own.get("judge")): own}
    answers = (row for file in files for row in _rows_of(file, Response))
    said = {key: row.text for row in answers if (key := (row.instruction_id, row.contestant)) in wanted}
    ended = dict(_places(params, paths))[place].stat().st_mtime
    for game in games:
        first, second = (said.get((game.instruction_id, name)) for name in (game.first, game.second))
        if game.instruction_id in asked and first is not None and second is not None:
            seconds = _seconds(metrics.get(game.judge, {}))
            yield JudgeCall(place, game, asked[game.instruction_id], first, second, seconds, ended)


def _rows_of(file: Path, kind: type[R]) -> Iterator[R]:
    return iter_rows(file, kind) if file.is_file() else iter(())


def _parts(metrics: Document) -> list[Document]:
    return [mapping_at(metrics, name) for name in metrics]


def _seconds(metrics: Document) -> float:
    """Return the mean seconds of a game; 0 if they are unknown."""
    seconds, games = number_at(metrics, "seconds"), number_at(metrics, "games")
    return seconds / games if seconds and games else 0.0
