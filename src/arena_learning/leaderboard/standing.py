"""What one set of ratings shows: the ratings with ranks, the gain from the anchor to the last round, and the steps."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from arena_learning.params import Params
from arena_learning.rating import RatingParams, RatingResult, Stop

_KEPT = ("model", "rating", "lower", "upper", "rank_lower", "rank_upper")


def stop_of(params: Params) -> Stop:
    """Return what ended the test set's battles: their number, or what the adaptive schedule saw."""
    return "adaptive" if params.evaluate.schedule == "adaptive" else "fixed"


def rating_params(params: Params, stop: Stop) -> RatingParams:
    """Return how a leaderboard rates; ``stop``: ``adaptive`` if the adaptive schedule chose the battles."""
    return RatingParams(
        anchor=(params.evaluate.anchor, params.evaluate.anchor_rating),
        bootstrap=params.evaluate.bootstrap,
        cluster="prompt",
        # At the levels that an adaptive stop needs, a thousand resamples leave only a handful beyond a percentile.
        interval="sandwich" if stop == "adaptive" else "bootstrap",
        seed=params.seed,
        stop=stop,
    )


def gains(result: RatingResult, params: Params) -> dict[str, Any]:
    """Return ``gain``, anchor to last round (None without rounds), and ``steps``, from each to the next."""
    contestants = set(result.models)
    rounds = [name for name in params.ordered_rounds if name in contestants]
    anchor = params.evaluate.anchor
    chain = [anchor, *[r for r in rounds if r != anchor]]
    return {
        "gain": difference(result, chain[0], chain[-1]) if len(chain) > 1 else None,
        "steps": [difference(result, a, b) for a, b in pairwise(chain)],
    }


def standing(result: RatingResult, params: Params) -> dict[str, Any]:
    """Return ratings of the same battles by another rule: ``ratings``, highest first, and `gains`."""
    ratings = [{key: getattr(rating, key) for key in _KEPT} for rating in result.ratings]
    return {"ratings": ratings, **gains(result, params)}


def difference(result: RatingResult, start: str, end: str) -> dict[str, Any]:
    """Return the rating difference of ``end`` over ``start`` with its interval, and what it shows in words."""
    found = result.difference(start, end)
    if found.lower > 0:
        words_ = "gain"
    elif found.upper < 0:
        words_ = "fall"
    else:
        words_ = "not separated"
    return {
        "from": start,
        "to": end,
        "difference": found.difference,
        "lower": found.lower,
        "upper": found.upper,
        "verdict": words_,
    }
