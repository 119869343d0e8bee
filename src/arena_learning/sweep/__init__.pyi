from .apply import apply_winner, find_report
from .mlflow_runs import log_study
from .report import summaries
from .spaces import chosen_space, judge_space, selection_space

__all__ = [
    "apply_winner",
    "chosen_space",
    "find_report",
    "judge_space",
    "log_study",
    "selection_space",
    "summaries",
]
