"""The `battle` and `answer` stages: contestants answer a round's split or the test set."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from arena_learning.arena.ask import Asked, Contestant, ask
from arena_learning.params import NONE, Params
from arena_learning.paths import Paths
from arena_learning.rows import Instruction, Response, read_rows, write_json, write_rows
from arena_learning.store import Store
from arena_learning.texts import words


def battle_round(name: str, params: Params, paths: Paths, *, fresh: bool = False) -> dict[str, Any]:
    """Let the target and the opponents answer a round's split; return the stage's metrics.

    A round without a target asks only the contestant whose answers are its labels.
    """
    this = params.rounds[name]
    instructions = read_rows(paths.split(this.split), Instruction)
    if this.target != NONE:
        names = [this.target, *params.opponents_of(name)]
    else:
        names = [] if this.labels == NONE else [this.labels]
    answers = {c: ask_contestant(c, instructions, params, paths, fresh=fresh) for c in names}
    responses = [r for asked in answers.values() for r in asked.responses]
    write_rows(paths.responses(name), sorted(responses, key=lambda r: (r.instruction_id, r.contestant)))
    metrics = {"contestants": {c: answer_metrics(asked) for c, asked in answers.items()}}
    write_json(paths.stage_metrics(name, "battle"), metrics)
    return {**metrics, "paid": sum(asked.paid for asked in answers.values())}


def answer_test(contestant: str, params: Params, paths: Paths, *, fresh: bool = False) -> dict[str, Any]:
    """Let a contestant answer the test set; return its metrics."""
    instructions = read_rows(paths.split("test"), Instruction)
    asked = ask_contestant(contestant, instructions, params, paths, fresh=fresh)
    write_rows(paths.arena_responses(contestant), sorted(asked.responses, key=lambda r: r.instruction_id))
    return {**answer_metrics(asked), "paid": asked.paid}


def ask_contestant(
    name: str, instructions: Sequence[Instruction], params: Params, paths: Paths, *, fresh: bool = False
) -> Asked:
    """Open a contestant, ask it, close it.

    Raises:
        ArenaError: an unknown contestant, or one that cannot answer.
    """
    from arena_learning.engines.build import open_engine

    if not instructions:
        return Asked([], 0, 0.0, 0)
    opponent = params.opponents.get(name)
    sampling = (opponent.sampling if opponent else None) or params.sampling
    engine = open_engine(name, params, paths, instructions)
    try:
        with Store(paths.store, fresh=fresh) as store:
            return ask(Contestant(name, engine, sampling), instructions, store)
    finally:
        engine.close()


def answer_metrics(asked: Asked) -> dict[str, Any]:
    """Return counts, lengths and speed of a contestant's answers (speed of the answering itself, cached or not)."""
    responses: list[Response] = asked.responses
    if not responses:
        return {"answers": 0}
    return {
        "answers": len(responses),
        "empty": sum(not r.text.strip() for r in responses),
        "cut_off": sum(r.finish_reason == "length" for r in responses),
        "mean_words": round(fmean(len(words(r.text)) for r in responses), 1),
        "tokens": asked.tokens,
        "seconds": round(asked.seconds, 1),
        "tokens_per_second": round(asked.tokens / asked.seconds, 1) if asked.seconds else None,
    }
