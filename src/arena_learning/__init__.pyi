from .api import Project, battle, judge_answers, load_project, read_instructions
from .core import ArenaError
from .rating import RatingParams, RatingResult, rate

__version__: str

__all__ = [
    "ArenaError",
    "Project",
    "RatingParams",
    "RatingResult",
    "battle",
    "judge_answers",
    "load_project",
    "rate",
    "read_instructions",
]
