"""Playing games through the store: only games that are new are judged, in batches that survive a crash."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from arena_learning.judge.base import Judge, Presentation, Verdict, is_remembered, plays_both_orders, verdicts
from arena_learning.judge.merge import merge_games
from arena_learning.progress import Progress
from arena_learning.rows import Battle, Game, Instruction, Response
from arena_learning.store import Store, store_key

_WINDOW = 8  # batches between two looks at what other processes have done


class Pairing(NamedTuple):
    """Two contestants who meet on an instruction."""

    instruction_id: str
    a: str
    b: str


class Judged(NamedTuple):
    """Games and battles in canonical order, and what they cost now (``paid``) and ever (``seconds``, ``tokens``).

    ``judge`` is the label that the judge puts on its games.
    """

    judge: str
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
    """Judge every pairing in both orders (in one, where the judge cannot tell them apart).

    A verdict is in the store as soon as the judge gives it.

    Args:
        pairings: who meets whom on what.
        instructions: by id.
        responses: by (instruction id, contestant).
        judge: scores the presentations.
        store: remembers scored games; unscored ones are asked again next time.
        disagree: see `merge.merge_games`.
    """
    presented = _present(pairings, instructions, responses, both=plays_both_orders(judge))
    # What is not remembered may hang on names, which no key holds: each presentation is then one of its own.
    kept = is_remembered(judge)
    keys = [_key(judge, p) for p in presented] if kept else [str(n).encode() for n in range(len(presented))]
    known = {key: _from_store(value) for key, value in store.get(keys).items()} if kept else {}
    todo = {key: p for key, p in zip(keys, presented, strict=True) if key not in known}
    paid = _judge(todo, judge, store if kept else None, known)
    games = [_game(judge, p, known[key]) for key, p in zip(keys, presented, strict=True)]
    distinct = [known[key] for key in dict.fromkeys(keys)]
    return Judged(
        judge.label,
        games,
        _battles(games, instructions, disagree, expected=2 if plays_both_orders(judge) else 1),
        paid=paid,
        seconds=sum(v.seconds for v in distinct),
        tokens=sum(v.tokens for v in distinct),
    )


def _present(
    pairings: Sequence[Pairing],
    instructions: Mapping[str, Instruction],
    responses: Mapping[tuple[str, str], Response],
    *,
    both: bool,
) -> list[Presentation]:
    """Return the presentations of all pairings in canonical order."""
    wanted = sorted({Pairing(p.instruction_id, *sorted((p.a, p.b))) for p in pairings})
    return [
        Presentation(
            instructions[p.instruction_id], responses[p.instruction_id, x], responses[p.instruction_id, y]
        )
        for p in wanted
        for x, y in ((p.a, p.b), (p.b, p.a))[: 2 if both else 1]
    ]


def _judge(
    todo: Mapping[bytes, Presentation], judge: Judge, store: Store | None, known: dict[bytes, Verdict]
) -> int:
    """Let the judge score ``todo``, put the verdicts into ``known`` and the store; return how many were paid.

    Games are taken window by window, and what another process has scored meanwhile is not scored again. Where one is
    met, windows are taken at random: in the same order both would pay for everything.
    """
    keys, size = list(todo), _WINDOW * judge.batch_size
    windows = [keys[start : start + size] for start in range(0, len(keys), size)]
    paid, contested, draw = 0, False, random.Random()
    with Progress(f"judge ({judge.label})", len(keys), "games") as progress:
        while windows:
            window = windows.pop(draw.randrange(len(windows)) if contested else 0)
            others = {key: _from_store(value) for key, value in store.get(window).items()} if store else {}
            known.update(others)
            progress.advance(len(others))
            asked = [key for key in window if key not in others]
            contested = contested or bool(others)
            last = time.perf_counter()
            for group in verdicts(judge, [todo[key] for key in asked]):
                new = {asked[place]: _sound(verdict) for place, verdict in group}
                new, last = _timed(new, last), time.perf_counter()
                if store:
                    contested = contested or bool(store.get(list(new)))
                    store.put("game", {key: v._asdict() for key, v in new.items() if v.unscored is None})
                    paid += len(group)
                known.update(new)
                progress.advance(len(group))
    return paid


def _timed(new: dict[bytes, Verdict], since: float) -> dict[bytes, Verdict]:
    """Give the verdicts of a judge that keeps no time itself their share of the wall time."""
    each = (time.perf_counter() - since) / max(1, len(new))
    return {key: v if v.seconds else v._replace(seconds=each) for key, v in new.items()}


def _battles(
    games: Sequence[Game], instructions: Mapping[str, Instruction], disagree: str, expected: int
) -> list[Battle]:
    battles = []
    for (instruction_id, *_), group in groupby(games, key=_pair):
        battles.append(merge_games(list(group), instructions[instruction_id].category, disagree, expected))
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
