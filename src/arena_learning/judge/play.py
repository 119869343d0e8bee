"""Judge games through the store: only games that the store lacks are judged, and a crash loses none.

Games are played in portions of some thousands, and each portion can be written before the next begins: memory does not
grow with the number of games.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, groupby
from typing import NamedTuple

from arena_learning.core import ArenaError, Progress, logger
from arena_learning.engines import MAX_REFUSED, older_fingerprints, too_many_refused
from arena_learning.judge.base import (
    Judge,
    Presentation,
    Verdict,
    is_batch_exact,
    is_remembered,
    plays_both_orders,
    stream_verdicts,
    tie_margin,
)
from arena_learning.judge.merge import merge_games
from arena_learning.judge.stored_verdict import read_verdict, stored_value, verdict_key
from arena_learning.schema import Battle, Game, Instruction, Response
from arena_learning.store import Store, lease_work

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

    Yields:
        Games and battles in canonical order, each once; all games of a battle are in one portion.

    Raises:
        ArenaError: the judge cannot be asked, or too many games are refused; the verdicts so far stay stored.
    """
    both = plays_both_orders(judge)
    wanted = sorted({p if p.a <= p.b else Pairing(p.instruction_id, p.b, p.a) for p in pairings})
    step = max(1, size // (2 if both else 1))
    total = sum(len(_orders(p, both)) for p in wanted)
    run = _Run(judge, store if is_remembered(judge) else None, total, max_refused, retry)
    with Progress(f"judge ({judge.label})", total, "games") as progress:
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
            yield _portion(presented, instructions, run, disagree, progress)
    run.remember_refused()


def _orders(pairing: Pairing, both: bool) -> tuple[tuple[str, str], ...]:
    """Return who is shown first and second in each game of a pairing."""
    _, a, b = pairing
    return ((a, b), (b, a)) if both and a != b else ((a, b),)


class _Run:
    """State of one `play_in_portions` call: judge, store, and what its engine has refused so far."""

    def __init__(self, judge: Judge, store: Store | None, total: int, most: float, retry: bool) -> None:
        self.judge, self.store, self.retry = judge, store, retry
        self._total, self._most = total, most
        self._refused: dict[bytes, Verdict] = {}

    def put(self, new: Mapping[bytes, Verdict]) -> None:
        """Store verdicts; keep refusals for `remember_refused`.

        Raises:
            ArenaError: too many games are refused.
        """
        given = {key: verdict for key, verdict in new.items() if not verdict.refused}
        if self.store:
            version = getattr(self.judge, "parser_version", "")
            self.store.put("game", {key: stored_value(verdict, version) for key, verdict in given.items()})
        self.note_refused({key: verdict for key, verdict in new.items() if verdict.refused})

    def note_refused(self, refused: Mapping[bytes, Verdict]) -> None:
        """Count refusals; raise like `put`."""
        self._refused |= refused
        if refused and too_many_refused(len(self._refused), self._total, self._most):
            reasons = Counter(verdict.unscored for verdict in self._refused.values())
            some = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common(3))
            raise ArenaError(
                f"{len(self._refused)} of {self._total} games get no verdict ({some})",
                where=self.judge.label,
                hint="see what these games have in common; all other verdicts are kept. To go on without them, raise "
                "serving.max_refused",
            )

    def remember_refused(self) -> None:
        """Store the lasting refusals of a finished run, so that they are not asked again."""
        lasting = {key: verdict for key, verdict in self._refused.items() if not verdict.passing}
        if self.store and lasting:
            version = getattr(self.judge, "parser_version", "")
            self.store.put("game", {key: stored_value(verdict, version) for key, verdict in lasting.items()})


def _portion(
    presented: Sequence[Presentation],
    instructions: Mapping[str, Instruction],
    run: _Run,
    disagree: str,
    progress: Progress,
) -> PlayedGames:
    # Verdicts that are not stored may depend on contestants' names, which no key holds: give each presentation a key.
    judge = run.judge
    keys = (
        [verdict_key(judge, p) for p in presented]
        if run.store
        else [str(n).encode() for n in range(len(presented))]
    )
    distinct = dict(zip(keys, presented, strict=True))
    missing = {key: _without_answer(p) for key, p in distinct.items() if _unanswered(p)}
    progress.total -= len(keys) - len(distinct) + len(missing)
    known, judged = _judge({key: p for key, p in distinct.items() if key not in missing}, run, progress)
    known |= missing
    logger.debug(f"{judge.label}: {judged} of {len(distinct)} games judged, the others remembered")
    games = [_game(judge, p, known[key]) for key, p in zip(keys, presented, strict=True)]
    return PlayedGames(
        judge.label,
        games,
        _battles(games, instructions, disagree, judge),
        judged=judged,
        seconds=sum(v.seconds for v in known.values()),
        tokens=sum(v.tokens for v in known.values()),
    )


def _unanswered(presentation: Presentation) -> bool:
    return "refused" in (presentation.first.finish_reason, presentation.second.finish_reason)


def _without_answer(presentation: Presentation) -> Verdict:
    """Return the unscored verdict on a presentation with a refused answer."""
    reasons = sorted({r.refusal for r in (presentation.first, presentation.second) if r.refusal})
    return Verdict(None, None, "", unscored=f"no answer to judge: {'; '.join(reasons)}", attempts=0)


def _judge(
    todo: Mapping[bytes, Presentation], run: _Run, progress: Progress
) -> tuple[dict[bytes, Verdict], int]:
    """Return the verdict on each of ``todo``, from the store or the judge, and the number of new ones."""
    known: dict[bytes, Verdict] = {}
    judged, judge, store = 0, run.judge, run.store
    if store:
        for fingerprint in older_fingerprints(judge):
            store.adopt(
                {key: verdict_key(judge, presentation, fingerprint) for key, presentation in todo.items()}
            )
    if store and run.retry:
        store.forget([key for key, value in store.get(list(todo)).items() if value["unscored"] is not None])

    def waiting(count: int) -> None:
        progress.advance(0, f"waiting for {count} of another process")

    whole = not is_batch_exact(judge)
    planned = chain.from_iterable(
        lease_work(store, keys, judge.batch_size, whole=whole, waiting=waiting)
        for keys in (_by_pair(todo) if whole else [list(todo)])
    )
    for share in planned:
        remembered = {key: read_verdict(value, judge, todo[key]) for key, value in share.known.items()}
        known |= remembered
        run.note_refused({key: verdict for key, verdict in remembered.items() if verdict.refused})
        progress.total -= len(share.known)
        last = time.perf_counter()
        for group in stream_verdicts(judge, [todo[key] for key in share.mine]):
            new = {share.mine[place]: _sound(verdict) for place, verdict in group}
            new, last = _timed(new, last), time.perf_counter()
            run.put(new)
            judged += len(group) if store else 0
            known.update(new)
            progress.advance(len(group))
    return known, judged


def _by_pair(todo: Mapping[bytes, Presentation]) -> list[list[bytes]]:
    """Return the keys grouped by pair and order of contestants.

    Where a verdict depends on its batch, batches are planned before the store is read and judged whole or not at all,
    so that a resumed run gives the same verdicts. Grouped by pair, they stay the same when a contestant joins.
    """
    groups: dict[tuple[str, str], list[bytes]] = defaultdict(list)
    for key, presentation in todo.items():
        groups[presentation.first.contestant, presentation.second.contestant].append(key)
    return list(groups.values())


def _timed(new: dict[bytes, Verdict], since: float) -> dict[bytes, Verdict]:
    """Give the verdicts of a judge that does not measure time an equal share of the elapsed time."""
    each = (time.perf_counter() - since) / max(1, len(new))
    return {key: v if v.seconds else v._replace(seconds=each) for key, v in new.items()}


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


def _sound(verdict: Verdict) -> Verdict:
    """Return the verdict, or make it unscored if its scores are invalid: these must not reach the store."""
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
