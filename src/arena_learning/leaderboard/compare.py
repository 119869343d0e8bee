"""Paired comparison on held-out instructions, which tuning uses instead of the test set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from arena_learning.arena import ContestantAnswers, answer_metrics
from arena_learning.core import ArenaError, Paths, suggest
from arena_learning.leaderboard.evaluate import evaluate_split
from arena_learning.leaderboard.ratings import judge_leaderboard
from arena_learning.params import Params
from arena_learning.pool import HELD_OUT
from arena_learning.schema import AnyBattle

_RESAMPLES = 2000


def compare_split(
    split: str, contestants: Sequence[str] | None, params: Params, paths: Paths, *, fresh: bool = False
) -> dict[str, Any]:
    """Answer and judge ``split``, and compare every contestant with the anchor.

    Returns:
        By judge, by contestant: the mean score (1 to 10), the mean paired score difference to the anchor with a 95 %
        bootstrap interval over instructions, and the rating. None where no instruction has a score of all contestants.

    Raises:
        ArenaError: there is no such split or contestant, or nobody but the anchor.
    """
    known = {*HELD_OUT, *(name for name, size in params.pool.splits.items() if size)}
    if split not in known:
        raise ArenaError(f"no split '{split}'", where="--split", hint=suggest(split, known))
    for name in contestants or ():
        if name not in params.contestants:
            raise ArenaError(
                f"no contestant '{name}'", where="--contestants", hint=suggest(name, params.contestants)
            )
    anchor = params.evaluate.anchor
    names = list(dict.fromkeys(contestants or params.contestants))
    if anchor not in names:
        names = [anchor, *names]
    if len(names) < 2:
        raise ArenaError(
            f"nobody is compared with the anchor '{anchor}'",
            where="--contestants",
            hint="name another contestant, or leave the option out for all",
        )
    held = evaluate_split(split, names, params, paths, fresh=fresh)
    table: dict[str, Any] = {}
    for judge, battles in held.battles.items():
        ratings = {r["model"]: r["rating"] for r in judge_leaderboard(battles, params)["ratings"]}
        table[judge] = {
            name: {**row, "rating": ratings.get(name)}
            for name, row in paired(battles, names, anchor, params.seed).items()
        }
    table["answers"] = {
        name: answer_metrics(
            ContestantAnswers([r for (_, c), r in held.responses.items() if c == name], 0, 0.0, 0)
        )
        for name in names
    }
    return table


def paired(
    battles: Sequence[AnyBattle], names: Sequence[str], anchor: str, seed: int
) -> dict[str, dict[str, float | None]]:
    """Return each contestant's mean score and its mean paired difference to the anchor with a 95 % interval.

    Both are over the instructions on which all of ``names`` have a score; None if there are none.
    """
    scores = mean_scores(battles)
    shared = sorted(i for i, by in scores.items() if all(name in by for name in names))
    if not shared:
        return {name: dict.fromkeys(("mean_score", "gain", "lower", "upper")) for name in names}
    picks = np.random.default_rng(seed).integers(0, len(shared), size=(_RESAMPLES, len(shared)))
    rows: dict[str, dict[str, float | None]] = {}
    for name in names:
        own = np.array([scores[i][name] for i in shared])
        gain = own - np.array([scores[i][anchor] for i in shared])
        rows[name] = {"mean_score": float(own.mean()), **_interval(gain, picks)}
    return rows


def mean_scores(battles: Sequence[AnyBattle]) -> Mapping[str, Mapping[str, float]]:
    """Return each contestant's mean score over its battles, by instruction."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for b in battles:
        if b.score_a is not None and b.score_b is not None:
            found[b.instruction_id][b.a].append(b.score_a)
            found[b.instruction_id][b.b].append(b.score_b)
    return {i: {c: float(np.mean(v)) for c, v in by.items()} for i, by in found.items()}


def _interval(gain: npt.NDArray[np.float64], picks: npt.NDArray[np.int64]) -> dict[str, float]:
    means = gain[picks].mean(axis=1)
    lower, upper = np.quantile(means, [0.025, 0.975])
    return {"gain": float(gain.mean()), "lower": float(lower), "upper": float(upper)}
