"""The `battle` and `answer` stages: contestants answer a round's split or the test set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from arena_learning.arena.ask import ContestantAnswers, ask_group
from arena_learning.arena.at_once import Remote, ask_at_once
from arena_learning.arena.planned import is_remote, planned_samplings, sampling_of
from arena_learning.arena.sampling import drawn_together, sample_metrics
from arena_learning.arena.stored_answer import Contestant
from arena_learning.core import ArenaError, Paths, logger, suggest, words, write_json
from arena_learning.params import BASE, Params, Sampling
from arena_learning.schema import Instruction, Response, read_rows, write_rows
from arena_learning.store import Account, Store

if TYPE_CHECKING:
    from arena_learning.engines import Engine


def battle_round(
    name: str, params: Params, paths: Paths, *, fresh: bool = False, retry: bool = False
) -> dict[str, Any]:
    """Let the target and the opponents answer a round's split; return the stage's metrics.

    In a round without a target, only the contestant whose answers become the labels is asked.
    In a round that learns from samples (`Params.samples_of`) the target also generates them here. Contestants behind
    endpoints are asked at the same time as the local ones (`at_once`).
    """
    this = params.rounds[name]
    instructions = read_rows(paths.split(this.split), Instruction)
    planned = planned_samplings(name, params)
    if count := params.samples_of(name):
        logger.info(f"{name}: {len(instructions) * count} samples, {count} to each instruction")
    account = Account("battle", params, name)
    asked = _ask_all(planned, _Questions(instructions, params, paths, account, fresh, retry))
    answers = {contestant: first for contestant, (first, *_) in asked.items()}
    samples = [one for _, *drawn in asked.values() for one in drawn]
    responses = [r for one in answers.values() for r in one.responses]
    write_rows(paths.responses(name), sorted(responses, key=lambda r: (r.instruction_id, r.contestant)))
    drawn_rows = [r for one in samples for r in one.responses]
    write_rows(paths.samples(name), sorted(drawn_rows, key=lambda r: (r.instruction_id, r.sample)))
    metrics: dict[str, Any] = {"contestants": {c: answer_metrics(one) for c, one in answers.items()}}
    if samples:
        whole = _together(samples)
        metrics["samples"] = {**answer_metrics(whole), **sample_metrics(whole.responses, params.battle)}
    write_json(paths.stage_metrics(name, "battle"), metrics)
    return {**metrics, "generated": sum(one.generated for one in (*answers.values(), *samples))}


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
    questions = _Questions(instructions, params, paths, Account("answer", params), fresh, retry)
    return _ask(name, [sampling_of(name, params)], questions)[0]


class _Questions(NamedTuple):
    """What contestants are asked, and where their answers are kept."""

    instructions: Sequence[Instruction]
    params: Params
    paths: Paths
    account: Account
    fresh: bool
    retry: bool


def _ask_all(
    planned: Mapping[str, Sequence[Sampling]], questions: _Questions
) -> dict[str, list[ContestantAnswers]]:
    """Ask all contestants of a round, those behind endpoints at the same time; return their answers in this order.

    All endpoints are opened first, so that a missing key is told before anybody is asked.
    """
    from arena_learning.engines import open_engine

    local: dict[str, Callable[[], list[ContestantAnswers]]] = {}
    remote: dict[str, Remote[list[ContestantAnswers]]] = {}
    params, several = questions.params, len(planned) > 1 and len(questions.instructions) > 0
    with ExitStack() as opened:
        for name, samplings in planned.items():
            if several and is_remote(name, params):
                engine = open_engine(name, params, questions.paths, questions.instructions)
                opened.callback(engine.close)
                remote[name] = Remote(partial(_ask_open, name, engine, samplings, questions), engine.close)
            else:
                local[name] = partial(_ask, name, samplings, questions)
        return ask_at_once(local, remote, planned, questions.account.together)


def _ask(name: str, samplings: Sequence[Sampling], questions: _Questions) -> list[ContestantAnswers]:
    """Open a contestant once and ask it for its answers under the first sampling, then for samples; close it."""
    from arena_learning.engines import open_engine

    if not questions.instructions:
        return [ContestantAnswers([], 0, 0.0, 0) for _ in samplings]
    engine = open_engine(name, questions.params, questions.paths, questions.instructions)
    return _ask_open(name, engine, samplings, questions)


def _ask_open(
    name: str, engine: Engine, samplings: Sequence[Sampling], questions: _Questions
) -> list[ContestantAnswers]:
    """Ask a contestant whose engine is open, through a store of its own; close the engine."""
    try:
        with Store(questions.paths.store, fresh=questions.fresh, account=questions.account) as store:
            first, *samples = (Contestant(name, engine, own, n) for n, own in enumerate(samplings))
            most, instructions = questions.params.serving.max_refused, questions.instructions
            found: dict[int, ContestantAnswers] = {}
            for group in ([first], *drawn_together(samples, instructions, store)):
                each = ask_group(group, instructions, store, max_refused=most, retry=questions.retry)
                found |= {one.sample: answers for one, answers in zip(group, each, strict=True)}
            asked = [found[n] for n in range(len(samplings))]
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
