from .run import judge_table, sweep_judge
from .task import Limits

__all__ = ["Limits", "judge_table", "sweep_judge"]
