"""Ratings of contestants from battles, usable alone: importing this loads NumPy and nothing heavier."""

from arena_learning.rating.battles import Battles, Sides, battles_from_frame
from arena_learning.rating.bradley_terry import rate
from arena_learning.rating.result import Difference, Finding, Rating, RatingParams, RatingResult

__all__ = [
    "Battles",
    "Difference",
    "Finding",
    "Rating",
    "RatingParams",
    "RatingResult",
    "Sides",
    "battles_from_frame",
    "rate",
]
