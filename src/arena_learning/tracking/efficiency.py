"""The cost of a judged battle here, compared with the paper's machines and with human votes."""

from __future__ import annotations

from typing import Any

from arena_learning.core import ArenaError, Paths
from arena_learning.leaderboard import mapping_at, number_at, read_document
from arena_learning.params import Params

DAY = 86_400.0
# Arena Learning (arXiv 2407.10627): a million battles on 16 GPUs of 80 GB took 3 days of answering and 6 of judging. A
# public arena needs about a year for as many human votes: "40x".
MILLION = 1_000_000
PAPER_GPUS = 16
PAPER_DAYS = {"answering": 3.0, "judging": 6.0}
HUMAN_DAYS = 365.0


def battle_efficiency(params: Params, paths: Paths) -> dict[str, Any]:
    """Return measured seconds per judged battle and battles per day, with the paper's and those of human votes.

    Seconds are those of generating answers and verdicts, even if a later run found them in the store. Answers read from
    a file take no time: where opponents are recorded, each contestant that generates costs
    ``seconds_per_generated_answer``.

    Raises:
        ArenaError: no round has been judged yet, or a metrics file is malformed.
    """
    rounds = {name: _round(name, paths) for name in params.ordered_rounds}
    rounds = {name: cost for name, cost in rounds.items() if cost["battles"]}
    if not rounds:
        raise ArenaError("no battle has been judged yet", where=str(paths.root), hint="run `arena repro`")
    total = {key: sum(cost[key] for cost in rounds.values()) for key in next(iter(rounds.values()))}
    measured = _speed(total["battles"], total["answering_seconds"], total["judging_seconds"])
    paper = _speed(MILLION, PAPER_DAYS["answering"] * DAY, PAPER_DAYS["judging"] * DAY)
    human = MILLION / HUMAN_DAYS
    return {
        "measured": {
            **measured,
            "battles": int(total["battles"]),
            "answers": int(total["answers"]),
            "generated_answers": int(total["generated_answers"]),
            "seconds_per_generated_answer": (
                total["answering_seconds"] / total["generated_answers"]
                if total["generated_answers"]
                else None
            ),
            "times_human_votes": _ratio(measured["battles_per_day"], human),
        },
        "paper": {
            **paper,
            "battles": MILLION,
            "gpus": PAPER_GPUS,
            "gpu_seconds_per_battle": paper["seconds_per_battle"]["total"] * PAPER_GPUS,
            "times_human_votes": _ratio(paper["battles_per_day"], human),
        },
        "human_votes": {"battles": MILLION, "days": HUMAN_DAYS, "battles_per_day": human},
        "rounds": rounds,
    }


def _round(name: str, paths: Paths) -> dict[str, float]:
    """Return a round's scored battles, answers and seconds."""
    judge = read_document(paths.stage_metrics(name, "judge"))
    answered = mapping_at(read_document(paths.stage_metrics(name, "battle")), "contestants").values()
    return {
        "battles": (number_at(judge, "battles") or 0.0) - (number_at(judge, "battles_unscored") or 0.0),
        "answers": sum(number_at(own, "answers") or 0.0 for own in answered),
        "generated_answers": sum(
            number_at(own, "answers") or 0.0 for own in answered if number_at(own, "seconds")
        ),
        "answering_seconds": sum(number_at(own, "seconds") or 0.0 for own in answered),
        "judging_seconds": number_at(judge, "seconds") or 0.0,
    }


def _speed(battles: float, answering: float, judging: float) -> dict[str, Any]:
    seconds = {
        "answering": answering / battles,
        "judging": judging / battles,
        "total": (answering + judging) / battles,
    }
    per_day = DAY / seconds["total"] if seconds["total"] else None
    return {"seconds_per_battle": seconds, "battles_per_day": per_day}


def _ratio(here: float | None, there: float) -> float | None:
    return here / there if here is not None and there else None
