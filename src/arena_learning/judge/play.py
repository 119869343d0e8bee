"""Playing games through the store: only games that are new are judged, in batches that survive a crash."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from arena_learning.judge.base import Judge, Presentation, Verdict
from arena_learning.judge.merge import merge_games
from arena_learning.progress import Progress
from arena_learning.rows import Battle, Game, Instruction, Response
from arena_learning.store import Store, store_key


class Pairing(NamedTuple):
    """Two contestants who meet on an instruction."""

    instruction_id: str
    a: str
    b: str


class Judged(NamedTuple):
    """Games and battles in canonical order, and what they cost now (``paid``) and ever (``seconds``, ``tokens``)."""

    games: list[Game]
    battles: list[Battle]
    paid: int
    seconds: float
    tokens: int


def play(
    pairings: Sequence[Pairing],
    instructions: Mapping[str, Instruction],
    responses: Mapping[tuple[str, str], Response],
    judge: Judge,
    store: Store,
    *,
    disagree: str = "average",
) -> Judged:
    """Judge both orders of every pairing.

    Args:
        pairings: who meets whom on what.
        instructions: by id.
        responses: by (instruction id, contestant).
        judge: scores the presentations.
        store: remembers scored games; unscored ones are asked again next time.
        disagree: see `merge.merge_games`.
    """
    wanted = sorted({Pairing(p.instruction_id, *sorted((p.a, p.b))) for p in pairings})
    presented = [
        Presentation(
            instructions[p.instruction_id], responses[p.instruction_id, x], responses[p.instruction_id, y]
        )
        for p in wanted
        for x, y in ((p.a, p.b), (p.b, p.a))
    ]
    keys = [_key(judge, p) for p in presented]
    verdicts = {key: _from_store(value) for key, value in store.get(keys).items()}
    todo = {key: p for key, p in zip(keys, presented, strict=True) if key not in verdicts}
    items = list(todo.items())
    with Progress(f"judge ({judge.label})", len(items), "games") as progress:
        for start in range(0, len(items), judge.batch_size):
            chunk = items[start : start + judge.batch_size]
            new = dict(zip([k for k, _ in chunk], _timed(judge, [p for _, p in chunk]), strict=True))
            store.put("game", {key: v._asdict() for key, v in new.items() if v.unscored is None})
            verdicts.update(new)
            progress.advance(len(chunk))
    games = [_game(judge, p, verdicts[key]) for key, p in zip(keys, presented, strict=True)]
    distinct = [verdicts[key] for key in dict.fromkeys(keys)]
    return Judged(
        games,
        _battles(games, instructions, disagree),
        paid=len(items),
        seconds=sum(v.seconds for v in distinct),
        tokens=sum(v.tokens for v in distinct),
    )


def _timed(judge: Judge, presentations: Sequence[Presentation]) -> list[Verdict]:
    """Score and check; a judge that keeps no time itself has its call's wall time shared out."""
    start = time.perf_counter()
    verdicts = [_sound(v) for v in judge.score(presentations)]
    each = (time.perf_counter() - start) / max(1, len(verdicts))
    return [v if v.seconds else v._replace(seconds=each) for v in verdicts]


def _battles(games: Sequence[Game], instructions: Mapping[str, Instruction], disagree: str) -> list[Battle]:
    battles = []
    for (instruction_id, *_), group in groupby(games, key=_pair):
        battles.append(merge_games(list(group), instructions[instruction_id].category, disagree))
    return battles


def _pair(game: Game) -> tuple[str, str, str]:
    a, b = sorted((game.first, game.second))
    return game.instruction_id, a, b


def _key(judge: Judge, presentation: Presentation) -> bytes:
    """Return the game's key: contents only, so that a renamed contestant pays nothing."""
    instruction, first, second = presentation
    return store_key(
        "game",
        {
            "judge": judge.fingerprint,
            "turns": [turn.model_dump() for turn in instruction.turns],
            "category": instruction.category,
            "rubric": list(instruction.rubric),
            "reference": instruction.reference,
            "responses": [[r.text, r.finish_reason] for r in (first, second)],
        },
    )


def _sound(verdict: Verdict) -> Verdict:
    """Return the verdict, unscored if it claims scores that are none: such a thing must not reach the store."""
    scores = (verdict.score_first, verdict.score_second)
    if verdict.unscored is not None:
        return verdict._replace(
            score_first=None, score_second=None, unscored=verdict.unscored.strip() or "no reason"
        )
    if all(score is not None and 1 <= score <= 10 for score in scores):
        return verdict
    return verdict._replace(
        score_first=None, score_second=None, unscored="the judge gave no scores from 1 to 10"
    )


def _from_store(value: dict[str, object]) -> Verdict:
    return Verdict(**value)  # type: ignore[arg-type]


def _game(judge: Judge, presentation: Presentation, verdict: Verdict) -> Game:
    return Game(
        instruction_id=presentation.instruction.id,
        judge=judge.label,
        first=presentation.first.contestant,
        second=presentation.second.contestant,
        score_first=verdict.score_first,
        score_second=verdict.score_second,
        rationale=verdict.rationale,
        unscored=verdict.unscored,
        attempts=verdict.attempts,
        tokens=verdict.tokens,
    )
