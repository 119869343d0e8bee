"""The check by Elo: is the model better than the champion under a judge that had no part in the training?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from arena_learning.leaderboard import rate_battles
from arena_learning.params import NONE, Params
from arena_learning.rating import Difference
from arena_learning.registry.checks import Check
from arena_learning.schema import AnyBattle


def fit_judge(params: Params) -> str:
    """Return the judge whose Elo difference counts: that of ``gate.judge``, else the first independent one, else ''."""
    if params.gate.judge != NONE:
        return params.gate.judge
    free = (judge for judge in params.evaluate.judges if params.independence(judge) == "independent")
    return next(free, "")


def elo_check(
    candidate: str, against: str, judge: str, arena: Mapping[str, Sequence[AnyBattle]], params: Params
) -> Check:
    """Return the check that the lower end of the Elo difference is above 0.

    Args:
        candidate: the round.
        against: the champion's round, or the base.
        judge: the judge that counts; empty if none is fit.
        arena: the test set's battles by judge.
        params: the anchor, the resamples and the seed, as for the leaderboard.
    """
    if not judge:
        parts = ", ".join(f"{one} ({params.independence(one)})" for one in params.evaluate.judges)
        said = f"no judge of the test set is independent of the training: {parts}; add one to evaluate.judges"
        return Check("elo", False, said)
    battles = [battle for battle in arena.get(judge, ()) if battle.winner != "unscored"]
    rated = {name for battle in battles for name in (battle.a, battle.b)}
    missing = [name for name in (candidate, against) if name not in rated]
    if missing:
        said = f"{judge} has rated no battle of {' and '.join(missing)} on the test set; run `arena repro`"
        return Check("elo", False, said)
    found = rating_difference(battles, against, candidate, params)
    bounds = f"95 % interval {found.lower:+.1f} to {found.upper:+.1f}"
    said = f"{candidate} is {found.difference:+.1f} Elo from {against} by {judge} ({bounds})"
    end = "the lower end is above 0" if found.lower > 0 else "the lower end is not above 0"
    return Check("elo", found.lower > 0, f"{said}: {end}", found.lower, limit=0.0)


def rating_difference(battles: Sequence[AnyBattle], start: str, end: str, params: Params) -> Difference:
    """Return the rating difference of ``end`` over ``start``, as the leaderboard rates.

    reports/leaderboard.json has this difference for neighbouring rounds only; a test holds the two together.
    """
    return rate_battles(battles, params).difference(start, end)
