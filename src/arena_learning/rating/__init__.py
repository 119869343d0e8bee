"""Ratings of contestants from battles, usable alone: importing this loads NumPy and nothing heavier."""

from arena_learning.rating.agreement import Conflict, Consistency, consistency
from arena_learning.rating.battles import Battles, battles_from_frame
from arena_learning.rating.bias import BattleBias, position_bias
from arena_learning.rating.bradley_terry import rate
from arena_learning.rating.columns import Sides
from arena_learning.rating.elo import EloParams, online_elo
from arena_learning.rating.rates import WinRate, average_win_rates, win_rate_against
from arena_learning.rating.read import read_battles
from arena_learning.rating.result import Difference, Finding, Rating, RatingParams, RatingResult, Stop
from arena_learning.rating.style import StyleEffect, StyleRatings, rate_with_style

__all__ = [
    "BattleBias",
    "Battles",
    "Conflict",
    "Consistency",
    "Difference",
    "EloParams",
    "Finding",
    "Rating",
    "RatingParams",
    "RatingResult",
    "Sides",
    "Stop",
    "StyleEffect",
    "StyleRatings",
    "WinRate",
    "average_win_rates",
    "battles_from_frame",
    "consistency",
    "online_elo",
    "position_bias",
    "rate",
    "rate_with_style",
    "read_battles",
    "win_rate_against",
]
