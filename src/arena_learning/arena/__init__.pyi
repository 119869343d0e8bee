from .ask import ContestantAnswers, ask_contestant_for
from .battle import answer_metrics, answer_test, ask_contestant, battle_round
from .pairing import pair_contestants
from .planned import count_stored, planned_samplings, sampling_of
from .stored_answer import Contestant, StoredAnswers, forget_answers

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
    "pair_contestants",
    "planned_samplings",
    "sampling_of",
]
