from .agreement import Conflict, Consistency, consistency
from .arrays import Floats
from .battles import Battles, battles_from_frame
from .bias import BattleBias, position_bias
from .bradley_terry import rate
from .calibration import Calibrated, TooFewVerdictsError, calibrate
from .columns import Sides
from .elo import EloParams, online_elo
from .intervals import t_quantile, tail
from .rates import WinRate, average_win_rates, win_rate_against
from .read import read_battles
from .report import Extras, passed_over_lines, rate_file, render_consistency, render_report
from .result import Difference, Finding, Rating, RatingParams, RatingResult, Stop
from .schedule import Planned, ScheduleParams, plan_adaptive
from .style import StyleEffect, StyleRatings, rate_with_style

__all__ = [
    "BattleBias",
    "Battles",
    "Calibrated",
    "Conflict",
    "Consistency",
    "Difference",
    "EloParams",
    "Extras",
    "Finding",
    "Floats",
    "Planned",
    "Rating",
    "RatingParams",
    "RatingResult",
    "ScheduleParams",
    "Sides",
    "Stop",
    "StyleEffect",
    "StyleRatings",
    "TooFewVerdictsError",
    "WinRate",
    "average_win_rates",
    "battles_from_frame",
    "calibrate",
    "consistency",
    "online_elo",
    "passed_over_lines",
    "plan_adaptive",
    "position_bias",
    "rate",
    "rate_file",
    "rate_with_style",
    "read_battles",
    "render_consistency",
    "render_report",
    "t_quantile",
    "tail",
    "win_rate_against",
]
