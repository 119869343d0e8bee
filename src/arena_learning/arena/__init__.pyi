from .ask import Contestant, ContestantAnswers, ask_contestant_for, forget_answers
from .battle import answer_metrics, answer_test, ask_contestant, battle_round
from .pairing import pair_contestants

__all__ = [
    "Contestant",
    "ContestantAnswers",
    "answer_metrics",
    "answer_test",
    "ask_contestant",
    "ask_contestant_for",
    "battle_round",
    "forget_answers",
    "pair_contestants",
]
