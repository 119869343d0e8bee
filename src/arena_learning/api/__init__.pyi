from .instructions import read_instructions
from .loaded import Project, load_project
from .play import battle, judge_answers

__all__ = ["Project", "battle", "judge_answers", "load_project", "read_instructions"]
