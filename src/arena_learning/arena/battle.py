"""The `battle` and `answer` stages: contestants answer a round's split or the test set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from arena_learning.arena.ask import ContestantAnswers, ask_contestant_for
from arena_learning.arena.planned import planned_samplings, sampling_of
from arena_learning.arena.sampling import sample_metrics
from arena_learning.arena.stored_answer import Contestant
from arena_learning.core import ArenaError, Paths, logger, suggest, words, write_json
from arena_learning.params import BASE, Params, Sampling
from arena_learning.schema import Instruction, Response, read_rows, write_rows
from arena_learning.store import Account, Store


def battle_round(
    name: str, params: Params, paths: Paths, *, fresh: bool = False, retry: bool = False
) -> dict[str, Any]:
    """Let the target and the opponents answer a round's split; return the stage's metrics.

    In a round without a target, only the contestant whose answers become the labels is asked.
    In a round that learns from samples (`Params.samples_of`) the target also generates them here.
    """
    this = params.rounds[name]
    instructions = read_rows(paths.split(this.split), Instruction)
    planned = planned_samplings(name, params)
    if count := params.samples_of(name):
        logger.info(f"{name}: {len(instructions) * count} samples, {count} to each instruction")
    account = Account("battle", params, name)
    answers: dict[str, ContestantAnswers] = {}
    samples: list[ContestantAnswers] = []
    for contestant, samplings in planned.items():
        answers[contestant], *drawn = _ask(
            contestant, instructions, params, paths, account, samplings, fresh=fresh, retry=retry
        )
        samples += drawn
    responses = [r for asked in answers.values() for r in asked.responses]
    write_rows(paths.responses(name), sorted(responses, key=lambda r: (r.instruction_id, r.contestant)))
    drawn_rows = [r for asked in samples for r in asked.responses]
    write_rows(paths.samples(name), sorted(drawn_rows, key=lambda r: (r.instruction_id, r.sample)))
    metrics: dict[str, Any] = {"contestants": {c: answer_metrics(asked) for c, asked in answers.items()}}
    if samples:
        whole = _together(samples)
        metrics["samples"] = {**answer_metrics(whole), **sample_metrics(whole.responses, params.battle)}
    write_json(paths.stage_metrics(name, "battle"), metrics)
    return {**metrics, "generated": sum(asked.generated for asked in (*answers.values(), *samples))}


def answer_test(
    contestant: str, params: Params, paths: Paths, *, fresh: bool = False, retry: bool = False
) -> dict[str, Any]:
    """Let a contestant answer the test set; return its metrics.

    The file is empty where there is no base model, and that of an opponent whose role is ``labels``.
    """
    known = {*params.contestants, *params.opponents, BASE}
    if contestant not in known:
        raise ArenaError(
            f"no contestant '{contestant}'", where="params.yaml", hint=suggest(contestant, known)
        )
    if contestant == BASE and not params.has_base:
        write_rows(paths.arena_responses(contestant), [])
        return {"answers": 0, "generated": 0}
    opponent = params.opponents.get(contestant)
    absent = opponent is not None and opponent.role == "labels"
    instructions = [] if absent else read_rows(paths.split("test"), Instruction)
    asked = ask_contestant(contestant, instructions, params, paths, fresh=fresh, retry=retry)
    write_rows(paths.arena_responses(contestant), sorted(asked.responses, key=lambda r: r.instruction_id))
    return {**answer_metrics(asked), "generated": asked.generated}


def ask_contestant(
    name: str,
    instructions: Sequence[Instruction],
    params: Params,
    paths: Paths,
    *,
    fresh: bool = False,
    retry: bool = False,
) -> ContestantAnswers:
    """Open a contestant's engine, ask it, close it. ``retry``: ask again for what it refused before.

    Raises:
        ArenaError: the contestant is unknown or cannot answer.
    """
    account = Account("answer", params)
    samplings = [sampling_of(name, params)]
    return _ask(name, instructions, params, paths, account, samplings, fresh=fresh, retry=retry)[0]


def _ask(
    name: str,
    instructions: Sequence[Instruction],
    params: Params,
    paths: Paths,
    account: Account,
    samplings: Sequence[Sampling],
    *,
    fresh: bool = False,
    retry: bool = False,
) -> list[ContestantAnswers]:
    """Open a contestant once and ask it for its answers under the first sampling, then for samples; close it."""
    from arena_learning.engines import open_engine

    if not instructions:
        return [ContestantAnswers([], 0, 0.0, 0) for _ in samplings]
    engine = open_engine(name, params, paths, instructions)
    try:
        with Store(paths.store, fresh=fresh, account=account) as store:
            asked = [
                ask_contestant_for(
                    Contestant(name, engine, own, sample),
                    instructions,
                    store,
                    max_refused=params.serving.max_refused,
                    retry=retry,
                )
                for sample, own in enumerate(samplings)
            ]
            _warn(name, asked[0], samplings[0].max_tokens)
            return asked
    finally:
        engine.close()


def _together(asked: Sequence[ContestantAnswers]) -> ContestantAnswers:
    """Return several passes over the instructions as one."""
    return ContestantAnswers(
        [response for one in asked for response in one.responses],
        generated=sum(one.generated for one in asked),
        seconds=sum(one.seconds for one in asked),
        tokens=sum(one.tokens for one in asked),
    )


def answer_metrics(asked: ContestantAnswers) -> dict[str, Any]:
    """Return counts, lengths and speed of a contestant's answers; speed is that of generation, also for stored answers.

    Thoughts and refusals (with their reasons) are counted where there are any.
    """
    responses = [r for r in asked.responses if r.finish_reason != "refused"]
    refused = Counter(r.refusal for r in asked.responses if r.finish_reason == "refused")
    special: dict[str, Any] = {}
    if refused:
        special = {"refused": refused.total(), "refused_reasons": dict(sorted(refused.items()))}
    if not responses:
        return {"answers": 0, **special}
    thinking = [r for r in responses if r.thought]
    if thinking:
        special |= {
            "thoughts": len(thinking),
            "thoughts_cut_off": sum(map(cut_off_before_answer, responses)),
            "mean_thought_tokens": round(fmean(r.thought_tokens for r in thinking), 1),
        }
    return {
        "answers": len(responses),
        "empty": sum(not r.text.strip() for r in responses),
        "cut_off": sum(r.finish_reason == "length" for r in responses),
        "mean_words": round(fmean(len(words(r.text)) for r in responses), 1),
        "tokens": asked.tokens,
        "seconds": round(asked.seconds, 1),
        "tokens_per_second": round(asked.tokens / asked.seconds, 1) if asked.seconds else None,
        **special,
    }


def cut_off_before_answer(response: Response) -> bool:
    """Whether the answer is empty because the thought before it used up all tokens."""
    return not response.text.strip() and response.finish_reason == "length"


def _warn(name: str, asked: ContestantAnswers, max_tokens: int) -> None:
    """Warn on standard error of empty and refused answers, which are easy to miss in the metrics."""
    cut = sum(map(cut_off_before_answer, asked.responses))
    if cut:
        logger.warning(
            f"{cut} of {len(asked.responses)} answers of '{name}' are empty: they were cut off in the thought "
            f"before them; raise max_tokens (it is {max_tokens}) in its sampling, or turn thinking off"
        )
    refused = Counter(r.refusal for r in asked.responses if r.finish_reason == "refused")
    if refused:
        why = "; ".join(f"{count} x {reason}" for reason, count in refused.most_common(3))
        logger.warning(f"'{name}' refuses {refused.total()} instructions ({why})")
