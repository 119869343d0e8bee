"""Judge games through the store: only games that the store lacks are judged, and a crash loses none.

Games are played in portions of some thousands, and each portion can be written before the next begins: memory does not
grow with the number of games.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from arena_learning.core import Progress
from arena_learning.engines import MAX_REFUSED
from arena_learning.judge.asking import Asking, open_asking
from arena_learning.judge.base import Judge, Presentation, Verdict, plays_both_orders, tie_margin
from arena_learning.judge.merge import merge_games
from arena_learning.schema import Battle, Game, Instruction, Response
from arena_learning.store import Store

PORTION = 20_000  # games in memory at once


class Pairing(NamedTuple):
    """Two contestants paired on an instruction; one that is paired with itself plays one game and no battle.

    Such a game asks a judge that scores one answer alone (`base.is_pointwise`) for that score.
    """

    instruction_id: str
    a: str
    b: str


class PlayedGames(NamedTuple):
    """Games and battles in canonical order, and their cost: ``judged`` counts this call's new games.

    Of a jury, a game is new if any member was asked.
    ``seconds`` and ``tokens`` include stored verdicts. ``judge`` is the label of the judge's games.
    """

    judge: str
    games: list[Game]
    battles: list[Battle]
    judged: int
    seconds: float
    tokens: int


def play_games(
    pairings: Iterable[Pairing],
    instructions: Mapping[str, Instruction],
    responses: Mapping[tuple[str, str], Response],
    judge: Judge,
    store: Store,
    *,
    disagree: str = "average",
    max_refused: float = MAX_REFUSED,
    retry: bool = False,
) -> PlayedGames:
    """Judge every pairing as `play_in_portions` does, and return all portions as one."""
    found = list(
        play_in_portions(
            pairings,
            instructions,
            responses,
            judge,
            store,
            disagree=disagree,
            max_refused=max_refused,
            retry=retry,
        )
    )
    return PlayedGames(
        judge.label,
        [game for part in found for game in part.games],
        [battle for part in found for battle in part.battles],
        judged=sum(part.judged for part in found),
        seconds=sum(part.seconds for part in found),
        tokens=sum(part.tokens for part in found),
    )


def play_in_portions(
    pairings: Iterable[Pairing],
    instructions: Mapping[str, Instruction],
    responses: Mapping[tuple[str, str], Response],
    judge: Judge,
    store: Store,
    *,
    disagree: str = "average",
    size: int = PORTION,
    max_refused: float = MAX_REFUSED,
    retry: bool = False,
    remember_refused: bool = True,
) -> Iterator[PlayedGames]:
    """Judge every pairing in both orders (in one, if the judge's verdict has no order), in portions.

    A verdict is stored as soon as the judge returns it. Verdicts that another process is making are awaited. A battle
    with a refused answer is unscored without asking the judge.

    Args:
        pairings: the pairs of contestants on each instruction.
        instructions: by id.
        responses: by (instruction id, contestant).
        judge: scores the presentations.
        store: holds the verdicts, unscored ones with their reason.
        disagree: what two orders with different outcomes become; see `merge.merge_games`.
        size: the most games in a portion.
        max_refused: the share of games that the judge's engine may refuse (`serving.max_refused`); a few always may.
        retry: judge again what was unscored in an earlier run.
        remember_refused: store lasting refusals at the end, so that they are not asked again.

    Yields:
        Games and battles in canonical order, each once; all games of a battle are in one portion.

    Raises:
        ArenaError: the judge cannot be asked, or too many games are refused; the verdicts so far stay stored.
    """
    both = plays_both_orders(judge)
    wanted = sorted({p if p.a <= p.b else Pairing(p.instruction_id, p.b, p.a) for p in pairings})
    step = max(1, size // (2 if both else 1))
    total = sum(len(_orders(p, both)) for p in wanted)
    asking = open_asking(judge, store, total, max_refused, retry=retry)
    with Progress(f"judge ({judge.label})", total * asking.judges, "games") as progress:
        for start in range(0, len(wanted), step):
            presented = [
                Presentation(
                    instructions[p.instruction_id],
                    responses[p.instruction_id, x],
                    responses[p.instruction_id, y],
                )
                for p in wanted[start : start + step]
                for x, y in _orders(p, both)
            ]
            yield _portion(presented, instructions, judge, asking, disagree, progress)
    if remember_refused:
        asking.remember_refused()


def _orders(pairing: Pairing, both: bool) -> tuple[tuple[str, str], ...]:
    """Return who is shown first and second in each game of a pairing."""
    _, a, b = pairing
    return ((a, b), (b, a)) if both and a != b else ((a, b),)


def _portion(
    presented: Sequence[Presentation],
    instructions: Mapping[str, Instruction],
    judge: Judge,
    asking: Asking,
    disagree: str,
    progress: Progress,
) -> PlayedGames:
    answered = [place for place, presentation in enumerate(presented) if not is_unanswered(presentation)]
    progress.total -= (len(presented) - len(answered)) * asking.judges
    asked = asking.ask([presented[place] for place in answered], progress)
    known = dict(zip(answered, asked.verdicts, strict=True))
    games = [_game(judge, p, known.get(place) or _without_answer(p)) for place, p in enumerate(presented)]
    return PlayedGames(
        judge.label,
        games,
        _battles(games, instructions, disagree, judge),
        judged=len(asked.new),
        seconds=asked.seconds,
        tokens=asked.tokens,
    )


def is_unanswered(presentation: Presentation) -> bool:
    """Whether an answer was refused, so that the battle is unscored without asking the judge."""
    return "refused" in (presentation.first.finish_reason, presentation.second.finish_reason)


def _without_answer(presentation: Presentation) -> Verdict:
    """Return the unscored verdict on a presentation with a refused answer."""
    reasons = sorted({r.refusal for r in (presentation.first, presentation.second) if r.refusal})
    return Verdict(None, None, "", unscored=f"no answer to judge: {'; '.join(reasons)}", attempts=0)


def _battles(
    games: Sequence[Game], instructions: Mapping[str, Instruction], disagree: str, judge: Judge
) -> list[Battle]:
    expected, margin = 2 if plays_both_orders(judge) else 1, tie_margin(judge)
    return [
        merge_games(list(group), instructions[instruction_id].category, disagree, expected, margin)
        for (instruction_id, a, b), group in groupby(games, key=_pair)
        if a != b
    ]


def _pair(game: Game) -> tuple[str, str, str]:
    a, b = sorted((game.first, game.second))
    return game.instruction_id, a, b


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
        jury=verdict.jury,
    )
