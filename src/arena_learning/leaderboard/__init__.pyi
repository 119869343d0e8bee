from .compare import compare_split
from .evaluate import evaluate_test, judge_names, read_arena_battles
from .monitors import AGREEMENT, answer_monitors, first_judge_first, round_monitors
from .ratings import make_leaderboard, rate_battles
from .round_files import (
    Document,
    RoundFiles,
    mapping_at,
    number_at,
    phases,
    read_document,
    read_rounds,
    records_at,
    training_curve,
)
from .schedule import planned_pairings

__all__ = [
    "AGREEMENT",
    "Document",
    "RoundFiles",
    "answer_monitors",
    "compare_split",
    "evaluate_test",
    "first_judge_first",
    "judge_names",
    "make_leaderboard",
    "mapping_at",
    "number_at",
    "phases",
    "planned_pairings",
    "rate_battles",
    "read_arena_battles",
    "read_document",
    "read_rounds",
    "records_at",
    "round_monitors",
    "training_curve",
]
