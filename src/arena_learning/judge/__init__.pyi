from .ahead import judge_ahead
from .base import (
    Judge,
    Presentation,
    Verdict,
    is_batch_exact,
    is_pointwise,
    plays_both_orders,
    tie_margin,
)
from .build import open_judge
from .difficulty import rate_difficulties
from .health import judge_health, win_counts
from .planned import count_stored_games, round_pairings
from .play import Pairing, PlayedGames, play_games, play_in_portions
from .recording import write_games
from .stage import judge_round
from .template import JudgeTemplate, shipped_templates
from .text_quality import repetition

__all__ = [
    "Judge",
    "JudgeTemplate",
    "Pairing",
    "PlayedGames",
    "Presentation",
    "Verdict",
    "count_stored_games",
    "is_batch_exact",
    "is_pointwise",
    "judge_ahead",
    "judge_health",
    "judge_round",
    "open_judge",
    "play_games",
    "play_in_portions",
    "plays_both_orders",
    "rate_difficulties",
    "repetition",
    "round_pairings",
    "shipped_templates",
    "tie_margin",
    "win_counts",
    "write_games",
]
