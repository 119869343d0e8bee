"""A jury: several judges score a game, and their verdicts become one.

The members are asked one after the other, each through the store, so a verdict that a member has given alone is not
asked again (`asking.open_asking`). The jury's own verdict is computed from theirs and is never stored.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import Literal, NamedTuple

from arena_learning.core import ArenaError, canonical
from arena_learning.judge.base import (
    Judge,
    Presentation,
    Verdict,
    is_batch_exact,
    is_pointwise,
    plays_both_orders,
    stream_verdicts,
    tie_margin,
)
from arena_learning.schema import JuryCount

VERSION = "1"

Combine = Literal["mean", "majority"]
Outcome = Literal["first", "second", "tie"]


class Member(NamedTuple):
    """A judge of a jury, and its name in params.yaml."""

    name: str
    judge: Judge


class Jury:
    """Combines the verdicts of its members, game by game.

    ``mean``: each score is the mean over the members that scored. ``majority``: each of these has one vote, which is a
    tie where its scores differ by no more than its own tie margin. The outcome with the most votes is the verdict; with
    equally many votes for two outcomes it is a tie. The scores are the means over the members that voted for it.

    Args:
        members: two judges or more.
        combine: how verdicts become one.
        quorum: least number of members that must have scored; with fewer the game is unscored. 0: more than half.
        where: the jury's section of params.yaml, for errors.

    Raises:
        ArenaError: two members are the same judge, which would have two votes.

    Example:
        >>> from arena_learning.judge.length_baseline import LengthBaselineJudge
        >>> Jury([Member("a", LengthBaselineJudge()), Member("b", LengthBaselineJudge())], "mean")
        Traceback (most recent call last):
            ...
        arena_learning.core.errors.ArenaError: a and b are the same judge (longer v1)
          hint: remove one of the two from members
    """

    def __init__(
        self, members: Sequence[Member], combine: Combine, quorum: int = 0, *, where: str = ""
    ) -> None:
        labels: dict[str, str] = {}
        for name, judge in members:
            if other := labels.get(judge.label):
                raise ArenaError(
                    f"{other} and {name} are the same judge ({judge.label})",
                    where=where,
                    hint="remove one of the two from members",
                )
            labels[judge.label] = name
        self.members, self._combine = tuple(members), combine
        self.quorum = quorum or len(members) // 2 + 1
        judges = [judge for _, judge in members]
        self.batch_size = max(judge.batch_size for judge in judges)
        self.batch_exact = all(map(is_batch_exact, judges))
        self.both_orders = any(map(plays_both_orders, judges))
        # A majority depends on what an answer is shown beside, even where each member scores it alone.
        self.pointwise = combine == "mean" and all(map(is_pointwise, judges))
        margins = [tie_margin(judge) for judge in judges] if combine == "majority" else []
        self.fingerprint = {
            "judge": f"jury {combine} v{VERSION}",
            "quorum": str(self.quorum),
            "members": canonical([judge.fingerprint for judge in judges]),
            "margins": canonical(margins),
        }
        whole = [combine, self.quorum, list(labels), margins, VERSION]
        digest = hashlib.sha256(canonical(whole).encode()).hexdigest()[:8]
        self.label = f"jury {combine} {'+'.join(name for name, _ in members)} {digest}"

    def score(self, presentations: Sequence[Presentation]) -> list[Verdict]:
        """Score each presentation without a store, member by member."""
        columns = []
        for _, judge in self.members:
            found = {
                place: verdict for group in stream_verdicts(judge, presentations) for place, verdict in group
            }
            columns.append([found[place] for place in range(len(presentations))])
        return [self.combined(row) for row in zip(*columns, strict=True)]

    def close(self) -> None:
        """Close all members."""
        for _, judge in self.members:
            judge.close()

    def combined(self, verdicts: Sequence[Verdict]) -> Verdict:
        """Return one verdict of the members' verdicts on a game, which are in the order of `members`.

        Attempts, tokens and seconds are sums. ``jury`` counts how the members voted.
        """
        scored = {
            place: (one.score_first, one.score_second)
            for place, one in enumerate(verdicts)
            if one.score_first is not None and one.score_second is not None
        }
        missing = len(verdicts) - len(scored)
        if len(scored) < self.quorum:
            reasons = "; ".join(
                f"{name}: {one.unscored}"
                for (name, _), one in zip(self.members, verdicts, strict=True)
                if one.unscored
            )
            count = JuryCount(scored=len(scored), missing=missing)
            why = f"{len(scored)} of {len(verdicts)} members scored, {self.quorum} must ({reasons})"
            return _with_cost(Verdict(None, None, "", unscored=why, jury=count), verdicts)
        votes = {
            place: _outcome(*pair, tie_margin(self.members[place].judge)) for place, pair in scored.items()
        }
        first, second = self._scores(scored, votes)
        outcome = _outcome(first, second, tie_margin(self))
        count = JuryCount(
            scored=len(scored),
            missing=missing,
            against=sum(vote != outcome for vote in votes.values()),
            spread=fmean(max(side) - min(side) for side in zip(*scored.values(), strict=True)),
        )
        rationale = self._rationale(verdicts, votes, outcome, count)
        return _with_cost(Verdict(first, second, rationale, jury=count), verdicts)

    def _scores(
        self, scored: dict[int, tuple[float, float]], votes: dict[int, Outcome]
    ) -> tuple[float, float]:
        if self._combine == "mean":
            return _means(list(scored.values()))
        ranked = Counter(votes.values()).most_common(2)
        drawn = len(ranked) > 1 and ranked[0][1] == ranked[1][1]
        won = None if drawn else ranked[0][0]
        first, second = _means([pair for place, pair in scored.items() if won in (None, votes[place])])
        return (first, second) if won in ("first", "second") else ((first + second) / 2,) * 2

    def _rationale(
        self, verdicts: Sequence[Verdict], votes: dict[int, Outcome], outcome: Outcome, count: JuryCount
    ) -> str:
        lines = [
            f"{count.scored} of {len(verdicts)} members scored, {count.against} against the verdict; "
            f"their scores are {count.spread:.2g} apart"
        ]
        for place, ((name, _), one) in enumerate(zip(self.members, verdicts, strict=True)):
            if place not in votes:
                lines.append(f"{name}: no score ({one.unscored})")
                continue
            side = "" if votes[place] == outcome else ", against"
            lines.append(f"{name} ({one.score_first:g} to {one.score_second:g}{side}): {one.rationale}")
        return "\n".join(lines)


def _with_cost(verdict: Verdict, members: Sequence[Verdict]) -> Verdict:
    return verdict._replace(
        attempts=sum(one.attempts for one in members),
        tokens=sum(one.tokens for one in members),
        seconds=sum(one.seconds for one in members),
        prompt_tokens=None
        if any(one.tokens and one.prompt_tokens is None for one in members)
        else sum(one.prompt_tokens or 0 for one in members),
    )


def _outcome(first: float, second: float, margin: float) -> Outcome:
    if abs(first - second) <= margin:
        return "tie"
    return "first" if first > second else "second"


def _means(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    first, second = zip(*pairs, strict=True)
    return fmean(first), fmean(second)
