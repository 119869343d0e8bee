from .ask import Contestant, ContestantAnswers, StoredAnswers, ask_contestant_for, forget_answers
from .battle import answer_metrics, answer_test, ask_contestant, battle_round
from .pairing import pair_contestants
from .planned import count_stored, is_remote, planned_samplings, sampling_of

__all__ = [
    "Contestant",
    "ContestantAnswers",
    "StoredAnswers",
    "answer_metrics",
    "answer_test",
    "ask_contestant",
    "ask_contestant_for",
    "battle_round",
    "count_stored",
    "forget_answers",
    "is_remote",
    "pair_contestants",
    "planned_samplings",
    "sampling_of",
]
