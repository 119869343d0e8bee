from .engine_suite import CONVERSATIONS, EngineConformance, ask, check_engine_closes
from .judge_suite import PRESENTATIONS, JudgeConformance, check_judge, present
from .languages import FOREIGN, Foreign

__all__ = [
    "CONVERSATIONS",
    "FOREIGN",
    "PRESENTATIONS",
    "EngineConformance",
    "Foreign",
    "JudgeConformance",
    "ask",
    "check_engine_closes",
    "check_judge",
    "present",
]
