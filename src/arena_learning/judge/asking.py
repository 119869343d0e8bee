"""Ask a judge, or each member of a jury, through the store: only verdicts that the store lacks are made."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import NamedTuple, Protocol

from arena_learning.core import ArenaError, Progress
from arena_learning.engines import older_fingerprints, too_many_refused
from arena_learning.judge.base import (
    CostlyJudge,
    Judge,
    Presentation,
    Verdict,
    is_batch_exact,
    is_remembered,
    judge_name,
    stream_verdicts,
)
from arena_learning.judge.jury import Jury
from arena_learning.judge.stored_verdict import read_verdict, stored_value, verdict_key
from arena_learning.store import Longest, Requests, Spent, Store, lease_work, longest_request, within_budget


class Asked(NamedTuple):
    """The verdict on each presentation, the places of those that were made now, and what all cost, stored or not.

    Of equal presentations, which are judged once, the first counts.
    """

    verdicts: list[Verdict]
    new: set[int]
    seconds: float
    tokens: int


class Asking(Protocol):
    """Asks about the games of one `play.play_in_portions` call; ``judges`` is how many judges see each game."""

    judges: int

    def ask(self, presented: Sequence[Presentation], progress: Progress) -> Asked:
        """Return the verdicts on some presentations; a verdict is stored as soon as it is made.

        Raises:
            ArenaError: a judge cannot be asked, or refuses too many games.
        """
        ...

    def remember_refused(self) -> None:
        """Store the lasting refusals of a finished run, so that they are not asked again."""
        ...


def open_asking(judge: Judge, store: Store, games: int, most: float, *, retry: bool) -> Asking:
    """Return what asks ``judge``, or the members of a jury.

    Args:
        judge: scores the presentations.
        store: holds the verdicts of judges that are remembered.
        games: number of games in the run.
        most: the share of games that a judge's engine may refuse.
        retry: judge again what was unscored in an earlier run.
    """
    if isinstance(judge, Jury):
        members = [_Single(member.judge, store, games, most, retry) for member in judge.members]
        return _Members(judge, members)
    return _Single(judge, store, games, most, retry)


class _Members:
    """Asks the members of a jury one after the other, so that each engine gets whole batches."""

    def __init__(self, jury: Jury, members: Sequence[_Single]) -> None:
        self._jury, self._members = jury, members
        self.judges = len(members)

    def ask(self, presented: Sequence[Presentation], progress: Progress) -> Asked:
        found = [member.ask(presented, progress) for member in self._members]
        rows = zip(*(asked.verdicts for asked in found), strict=True)
        return Asked(
            [self._jury.combined(row) for row in rows],
            set().union(*(asked.new for asked in found)),
            sum(asked.seconds for asked in found),
            sum(asked.tokens for asked in found),
        )

    def remember_refused(self) -> None:
        for member in self._members:
            member.remember_refused()


class _Single:
    """Asks one judge; holds what its engine has refused so far."""

    judges = 1

    def __init__(self, judge: Judge, store: Store, games: int, most: float, retry: bool) -> None:
        self._judge, self._store = judge, store if is_remembered(judge) else None
        self._games, self._most, self._retry = games, most, retry
        self._payer = store.account.payer("judge", judge_name(judge))
        self._refused: dict[bytes, Verdict] = {}

    def ask(self, presented: Sequence[Presentation], progress: Progress) -> Asked:
        # Verdicts that are not stored may depend on contestants' names, which no key holds: each gets its own key.
        keys = (
            [verdict_key(self._judge, p) for p in presented]
            if self._store
            else [str(n).encode() for n in range(len(presented))]
        )
        first = {key: place for place, key in reversed(list(enumerate(keys)))}
        distinct = dict(zip(keys, presented, strict=True))
        progress.total -= len(keys) - len(distinct)
        known, new = self._known(distinct, progress)
        return Asked(
            [known[key] for key in keys],
            {first[key] for key in new},
            seconds=sum(verdict.seconds for verdict in known.values()),
            tokens=sum(verdict.tokens for verdict in known.values()),
        )

    def remember_refused(self) -> None:
        lasting = {key: verdict for key, verdict in self._refused.items() if not verdict.passing}
        if lasting:
            self._store_all(lasting)

    def _known(
        self, todo: Mapping[bytes, Presentation], progress: Progress
    ) -> tuple[dict[bytes, Verdict], list[bytes]]:
        """Return the verdict on each of ``todo``, from the store or the judge, and the keys of new ones."""
        known: dict[bytes, Verdict] = {}
        made: list[bytes] = []
        judge, store = self._judge, self._store
        self._prepare(todo)

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
            self._note_refused({key: verdict for key, verdict in remembered.items() if verdict.refused})
            progress.total -= len(share.known)
            for mine in within_budget(store, share.mine, self._requests(todo, progress, whole)):
                last = time.perf_counter()
                for group in stream_verdicts(judge, [todo[key] for key in mine]):
                    new = {mine[place]: _sound(verdict) for place, verdict in group}
                    new, last = _timed(new, last), time.perf_counter()
                    self._put(new)
                    made += new if store else ()
                    known.update(new)
                    progress.advance(len(group))
        return known, made

    def _requests(self, todo: Mapping[bytes, Presentation], progress: Progress, whole: bool) -> Requests:
        def longest(key: bytes) -> Longest:
            judge = self._judge
            if not isinstance(judge, CostlyJudge):
                return Longest(0, 0)
            return longest_request(*judge.longest(todo[key]))

        return Requests(
            self._payer,
            self._judge.batch_size,
            whole,
            longest,
            missing=lambda: f"{progress.total - progress.done} games of judge '{self._payer.name}'",
        )

    def _prepare(self, todo: Mapping[bytes, Presentation]) -> None:
        """Copy verdicts stored under earlier keys; forget the unscored ones if they are to be judged again."""
        if not self._store:
            return
        for fingerprint in older_fingerprints(self._judge):
            self._store.adopt(
                {key: verdict_key(self._judge, shown, fingerprint) for key, shown in todo.items()}
            )
        if self._retry:
            stored = self._store.get(list(todo))
            self._store.forget([key for key, value in stored.items() if value["unscored"] is not None])

    def _put(self, new: Mapping[bytes, Verdict]) -> None:
        """Store verdicts; keep refusals for `remember_refused`.

        Raises:
            ArenaError: too many games are refused.
        """
        self._store_all({key: verdict for key, verdict in new.items() if not verdict.refused}, _spent(new))
        self._note_refused({key: verdict for key, verdict in new.items() if verdict.refused})

    def _store_all(self, verdicts: Mapping[bytes, Verdict], spent: Spent | None = None) -> None:
        if self._store:
            version = getattr(self._judge, "parser_version", "")
            values = {key: stored_value(one, version) for key, one in verdicts.items()}
            self._store.put("game", values, payer=self._payer, spent=spent)

    def _note_refused(self, refused: Mapping[bytes, Verdict]) -> None:
        """Count refusals; raise like `_put`."""
        self._refused |= refused
        if refused and too_many_refused(len(self._refused), self._games, self._most):
            reasons = Counter(verdict.unscored for verdict in self._refused.values())
            some = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common(3))
            raise ArenaError(
                f"{len(self._refused)} of {self._games} games get no verdict ({some})",
                where=self._judge.label,
                hint="see what these games have in common; all other verdicts are kept. To go on without them, raise "
                "serving.max_refused",
            )


def _spent(verdicts: Mapping[bytes, Verdict]) -> Spent:
    given = verdicts.values()
    prompts = [0 if not one.tokens else one.prompt_tokens for one in given]
    return Spent(
        made=sum(not one.refused for one in given),
        requests=sum(one.attempts for one in given),
        tokens=sum(one.tokens for one in given),
        prompt_tokens=None if None in prompts else sum(prompt or 0 for prompt in prompts),
        seconds=sum(one.seconds for one in given),
    )


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
