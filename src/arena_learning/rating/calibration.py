"""Ratings on the scale of human verdicts, from many verdicts of a judge and few of people.

Prediction-powered inference (Angelopoulos et al. 2023, arXiv:2301.09633) of the Bradley-Terry strengths that people's
verdicts on all judged battles would give; for rankings of language models see Chatzi et al. 2024 (arXiv:2402.17826).
All is done pair by pair, as if each pair were a stratum (Fisch et al. 2024, arXiv:2406.04291). Of a pair with N judged
battles, on which the judge gives one contestant ``f`` points a battle, and n of them with human verdicts of ``y``
points, the points to fit are

    N * (mean of y over the n + power * (mean of f over the N - mean of f over the n)).

The power, from 0 (human verdicts alone) to 1, is what makes the ratings most precise (PPI++, Angelopoulos et al. 2023,
arXiv:2311.01453). Whatever the judge's bias, its two means share it, and so it cancels.

It needs battles that were chosen for people without regard to the verdicts, best at random.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from arena_learning.core import ArenaError
from arena_learning.rating.battles import Battles, battles_from_frame, take_rows
from arena_learning.rating.bradley_terry import Fit, fit_battles, sandwich_result
from arena_learning.rating.fit import NotConvergedError, grounded, information, newton
from arena_learning.rating.fold import Games, Pairs
from arena_learning.rating.graph import groups_that_met
from arena_learning.rating.result import RatingParams, RatingResult

if TYPE_CHECKING:
    import pandas as pd

    from arena_learning.rating.arrays import Bools, Floats, Ints

# The fewest human verdicts of a pair whose spread can be estimated.
_LEAST = 2
# Log-odds between contestants (2000 Elo) from which a difference has no limit: rounding hides what holds it.
_FARTHEST = 11.5
_HINT = "let people judge more of the battles, chosen at random from all of them"


class TooFewVerdictsError(ArenaError):
    """The human verdicts do not determine ratings."""


class Calibrated(NamedTuple):
    """Ratings on the scale of human verdicts.

    Attributes:
        result: the ratings, with sandwich intervals clustered by prompt; counts of battles are the judge's.
        power: weight of the judge's verdicts, 0 (they tell nothing) to 1.
        worth: how many times as many human verdicts alone would be as precise: the mean variance of the differences
            from human verdicts alone over that of these ratings.
        verdicts: number of battles with human verdicts that were used.
        prompts: number of prompts that they are about.
        by_model: number of them by contestant.
        agreement: share of them in which the judge names the same outcome of three as people do; None if none of them
            has a plain outcome (two people may disagree).
        unmatched: number of battles with human verdicts but without a verdict of the judge.
        left_out: contestants without a calibrated rating, because too few human verdicts connect them to the others.
    """

    result: RatingResult
    power: float
    worth: float
    verdicts: int
    prompts: int
    by_model: dict[str, int]
    agreement: float | None
    unmatched: int
    left_out: tuple[str, ...]


class _Matched(NamedTuple):
    """The judge's battles with the human verdicts on them; points are the lower contestant's, 0 to 1.

    Attributes:
        battles: the judge's.
        lo: the lower contestant of each, ``(battles,)``.
        hi: the other.
        judge: points by the judge.
        human: mean points by people; NaN without a human verdict.
    """

    battles: Battles
    lo: Ints
    hi: Ints
    judge: Floats
    human: Floats

    def take(self, rows: Bools) -> _Matched:
        battles = take_rows(self.battles, rows)
        low, high = np.minimum(battles.a, battles.b), np.maximum(battles.a, battles.b)
        return _Matched(battles, low, high, self.judge[rows], self.human[rows])


def calibrate(judged: pd.DataFrame, human: pd.DataFrame, params: RatingParams | None = None) -> Calibrated:
    """Rate contestants on the scale of human verdicts.

    Args:
        judged: the judge's battles: ``model_a``, ``model_b``, ``winner``, ``prompt_id``; a pair once on each prompt.
        human: human verdicts, with the same columns. Several on one battle count as their mean. Those on battles
            that the judge did not decide are counted and not used.
        params: how to rate. ``ties`` must be ``half``; intervals are always the sandwich's, by prompt.

    Returns:
        The ratings of the contestants that human verdicts connect, with what they rest on. A pair needs two human
        verdicts to count.

    Raises:
        TooFewVerdictsError: the human verdicts do not determine ratings.
        ArenaError: a malformed table, a pair that is judged twice on a prompt, or other ties than ``half``.

    Example:
        found = calibrate(read_table("judge.csv"), read_table("people.csv"), RatingParams(anchor=("base", 1000.0)))
        found.result.to_frame(), found.power
    """
    params = params or RatingParams()
    if params.ties != "half":
        raise ArenaError(f"calibration does not support ties: {params.ties}", hint="use ties: half")
    matched, unmatched = _match(judged, human)
    whole = matched.battles.models
    used = _connected(matched, params)
    left_out = tuple(name for name in whole if name not in used.battles.models)
    fit = fit_battles(used.battles, params)
    pair = fit.folded.row_cell // 3
    own, judges = _deviations(used, pair, fit)
    power = _power(own, judges, fit.inverse)
    theta, inverse = _fit(used, pair, fit, power)
    labelled = np.isfinite(used.human)
    assert used.battles.prompt is not None
    prompts = len(np.unique(used.battles.prompt[labelled]))
    covariance = _covariance(own + power * judges, inverse)
    result = sandwich_result(
        used.battles, fit._replace(theta=theta, inverse=inverse), params, covariance, True, clusters=prompts
    )
    plain = labelled & np.isin(used.human, (0.0, 0.5, 1.0))
    sides = np.concatenate([used.lo[labelled], used.hi[labelled]])
    counts = np.bincount(sides, minlength=len(used.battles.models))
    return Calibrated(
        result,
        power,
        float(np.trace(_covariance(own, inverse)) / max(np.trace(covariance), 1e-300)),
        int(labelled.sum()),
        prompts,
        dict(zip(used.battles.models, counts.tolist(), strict=True)),
        float((used.human[plain] == used.judge[plain]).mean()) if plain.any() else None,
        unmatched,
        left_out,
    )


def _match(judged: pd.DataFrame, human: pd.DataFrame) -> tuple[_Matched, int]:
    """Return the judge's battles with the human verdicts on them, and the number of battles that only people judged."""
    import pandas as pd

    columns = ["model_a", "model_b", "winner", "prompt_id"]
    for name, table in (("the judge's battles", judged), ("the human verdicts", human)):
        missing = [column for column in columns if column not in table]
        if missing:
            raise ArenaError(f"no column {missing[0]!r}", where=name, hint=f"needed: {', '.join(columns)}")
        if not len(table):
            raise TooFewVerdictsError("there are none", where=name, hint=_HINT)
    # Read as one table, so that equal names and prompts have equal codes.
    both = battles_from_frame(pd.concat([judged[columns], human[columns]], ignore_index=True), "verdicts")
    if len(both) != len(judged) + len(human):
        raise ArenaError("some verdicts have no winner", hint="leave them out")
    assert both.prompt is not None
    low, high = np.minimum(both.a, both.b), np.maximum(both.a, both.b)
    points = np.where(both.a < both.b, both.points, 2 - both.points) / 2
    models = len(both.models)
    key = (both.prompt.astype(np.int64) * models + low) * models + high
    first = len(judged)
    order = np.argsort(key[:first], kind="stable")
    known = key[:first][order]
    if twice := np.flatnonzero(known[1:] == known[:-1]).tolist():
        row = order[twice[0]]
        names = (both.models[low[row]], both.models[high[row]])
        raise ArenaError(
            f"{names[0]} and {names[1]} are judged twice on {judged['prompt_id'].iloc[row]}",
            where="the judge's battles",
            hint="give each pair one verdict on a prompt",
        )
    place = np.minimum(np.searchsorted(known, key[first:]), len(known) - 1)
    held = known[place] == key[first:]
    row = order[place[held]]
    votes = np.bincount(row, minlength=first)
    total = np.bincount(row, weights=points[first:][held], minlength=first)
    mean = np.divide(total, votes, out=np.full(first, np.nan), where=votes > 0)
    here = np.arange(len(both)) < first
    matched = _Matched(both, low, high, points, np.r_[mean, np.full(len(human), np.nan)]).take(here)
    return matched, len(np.unique(key[first:][~held]))


def _connected(matched: _Matched, params: RatingParams) -> _Matched:
    """Keep the pairs with enough human verdicts, and of these the group of the anchor or else the largest."""
    size = len(matched.battles.models)
    pair = matched.lo.astype(np.int64) * size + matched.hi
    labelled = np.isfinite(matched.human)
    enough = (np.bincount(pair, weights=labelled, minlength=size * size) >= _LEAST)[pair]
    if not enough.any():
        raise TooFewVerdictsError(f"no pair has {_LEAST} human verdicts", hint=_HINT)
    kept = matched.take(enough)
    anchor = params.anchor[0] if params.anchor else None
    if anchor is not None and anchor not in kept.battles.models:
        raise TooFewVerdictsError(
            f"{anchor}, the anchor, meets nobody with {_LEAST} human verdicts or more", hint=_HINT
        )
    fit = fit_battles(kept.battles, params)
    groups = groups_that_met(fit.folded.pairs)
    mine = groups[kept.battles.models.index(anchor)] if anchor is not None else np.bincount(groups).argmax()
    return kept.take(groups[kept.lo] == mine)


def _deviations(used: _Matched, pair: Ints, fit: Fit) -> tuple[Floats, Floats]:
    """Return each prompt's part of the sampling error of the points, ``(prompts, models)`` twice.

    The first is that of the human verdicts alone, the second what the judge's verdicts add at a power of 1. Within a
    pair, deviations are from the pair's mean; the lost degree of freedom is given back.
    """
    labelled = np.isfinite(used.human)
    battles = np.bincount(pair)
    votes = np.bincount(pair, weights=labelled)
    weight = labelled * (battles / np.sqrt(votes * (votes - 1)))[pair]

    def centred(values: Floats, rows: Floats) -> Floats:
        return values - (np.bincount(pair, weights=values * rows) / np.bincount(pair, weights=rows))[pair]

    ones = np.ones(len(pair))
    human = weight * centred(np.where(labelled, used.human, 0.0), labelled)
    judge = centred(used.judge, ones) - weight * centred(used.judge, labelled)
    assert used.battles.prompt is not None
    size = len(used.battles.models)
    place = used.battles.prompt.astype(np.int64) * size
    out = []
    for values in (human, judge):
        table = np.bincount(place + used.lo, weights=values, minlength=used.battles.prompts * size)
        table -= np.bincount(place + used.hi, weights=values, minlength=used.battles.prompts * size)
        out.append(table.reshape(-1, size))
    return out[0], out[1]


def _power(own: Floats, judges: Floats, inverse: Floats) -> float:
    """Return the power that gives the differences of ratings the smallest mean variance, from 0 to 1."""
    one, other = own @ inverse, judges @ inverse
    below = float((other * other).sum())
    return float(np.clip(-(one * other).sum() / below, 0.0, 1.0)) if below else 0.0


def _fit(used: _Matched, pair: Ints, fit: Fit, power: float) -> tuple[Floats, Floats]:
    """Fit the calibrated points; returns log-strengths and the inverse of the grounded information."""
    labelled = np.isfinite(used.human)
    battles, votes = np.bincount(pair), np.bincount(pair, weights=labelled)
    people = np.bincount(pair, weights=np.where(labelled, used.human, 0.0)) / votes
    judge_all = np.bincount(pair, weights=used.judge) / battles
    judge_same = np.bincount(pair, weights=used.judge * labelled) / votes
    points = battles * (people + power * (judge_all - judge_same))
    pairs = fit.folded.pairs
    games = Games(battles[:, None].astype(np.float64), points[:, None])
    try:
        theta = newton(pairs, games, fit.groups)
    except (NotConvergedError, np.linalg.LinAlgError):
        theta = np.full((pairs.models, 1), np.nan)
    far = np.abs(theta[pairs.lo, 0] - theta[pairs.hi, 0])
    near = far < _FARTHEST  # false for a difference that is no number
    near_groups = groups_that_met(Pairs(pairs.models, pairs.lo[near], pairs.hi[near]))
    if near_groups.max():
        raise TooFewVerdictsError(
            "the human verdicts set no limit to the ratings: in some pairs nearly all name the same winner",
            hint=_HINT,
        )
    return theta[:, 0], np.linalg.inv(grounded(information(pairs, games, theta), fit.groups)[0])


def _covariance(scores: Floats, inverse: Floats) -> Floats:
    moved = scores @ inverse
    return np.asarray(moved.T @ moved)
