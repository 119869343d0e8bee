"""Difficulties of instructions, rated by a language model (paper, section 4.2), for test sets of hard instructions.

The replies are stored like answers, by all that could change them. So a rating that was killed goes on, no stored reply
is asked for again, and stored replies are read again where this code reads them differently. A kill costs the replies
that are not stored yet: of an endpoint at most ``concurrency`` in flight, and those of the last hundredths of a second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from arena_learning.arena import Contestant, ask_contestant_for, forget_answers
from arena_learning.core import ArenaError, Paths
from arena_learning.engines import MAX_REFUSED
from arena_learning.judge.build import open_judge_engine
from arena_learning.judge.difficulty_prompt import DifficultyRating, DifficultyTemplate, read_difficulty
from arena_learning.judge.llm import sampling_of_attempt
from arena_learning.params import Params, Sampling
from arena_learning.pool import RatedDifficulty, difficulty_candidates
from arena_learning.schema import Instruction, Response, read_rows, write_rows
from arena_learning.store import Account, Store


class RatedSet(NamedTuple):
    """The ratings by instruction id, and what they cost.

    Attributes:
        ratings: a rating, or its problem, of each instruction.
        asked: number of replies that were generated now.
        seconds: generation time of all replies, stored ones included.
        tokens: tokens of all replies.
    """

    ratings: dict[str, DifficultyRating]
    asked: int
    seconds: float
    tokens: int


def rate_difficulties(
    params: Params, paths: Paths, *, fresh: bool = False, retry: bool = False
) -> dict[str, Any]:
    """Let the judge `pool.difficulty_judge` rate the candidates of a hard test set; write `pool.difficulties`.

    Rows of that file without a ``judge`` are a person's: they stay, and what they rate is not asked for.

    Args:
        params: the pool, the judge and the test set.
        paths: the project's paths.
        fresh: ask again for what the store has.
        retry: ask again for what has no rating so far.

    Returns:
        Numbers: ``candidates``, ``rated``, ``unscored`` with reasons, ``asked`` now; mean difficulty; cost.

    Raises:
        ArenaError: no judge or file is named, the file is malformed, the test set needs no difficulties, the pool
            cannot be read, or the judge cannot be asked.
    """
    path = _named_file(params, paths)
    template = DifficultyTemplate(params.pool.difficulty_template, paths.root)
    own = {row.id: row for row in read_rows(path, RatedDifficulty) if not row.judge} if path.is_file() else {}
    candidates = difficulty_candidates(params, paths)
    wanted = [one for one in candidates if one.id not in own]
    rated = _asked(wanted, template, params, paths, fresh=fresh, retry=retry)
    label = f"{params.judges[params.pool.difficulty_judge].model} {template.name}@{template.digest}"
    rows = [
        RatedDifficulty(id=one.id, difficulty=found, judge=label)
        for one in wanted
        if (found := rated.ratings[one.id].difficulty) is not None
    ]
    write_rows(path, sorted([*own.values(), *rows], key=lambda row: row.id))
    rows += [own[one.id] for one in candidates if one.id in own]
    reasons = Counter(one.problem for one in rated.ratings.values() if one.difficulty is None)
    return {
        "candidates": len(candidates),
        "rated": len(rows),
        "unscored": len(candidates) - len(rows),
        "unscored_reasons": dict(sorted(reasons.items())),
        "asked": rated.asked,
        "mean": sum(row.difficulty for row in rows) / len(rows) if rows else None,
        "seconds": round(rated.seconds, 1),
        "tokens": rated.tokens,
    }


def _named_file(params: Params, paths: Paths) -> Path:
    """Return the file of difficulties.

    Raises:
        ArenaError: no judge or no file is named.
    """
    for key, value, such in (
        ("difficulty_judge", params.pool.difficulty_judge, "a key of judges"),
        ("difficulties", params.pool.difficulties, "data/difficulties.jsonl"),
    ):
        if not value:
            raise ArenaError(
                f"{key} is empty", where=f"params.yaml, pool.{key}", hint=f"name {such}, and run it again"
            )
    return paths.user_file(params.pool.difficulties, "pool.difficulties", outside=params.files_outside)


def _asked(
    candidates: Sequence[Instruction],
    template: DifficultyTemplate,
    params: Params,
    paths: Paths,
    *,
    fresh: bool,
    retry: bool,
) -> RatedSet:
    """Open the judge and the store, and ask for the difficulties; arguments as in `rate_difficulties`."""
    name = params.pool.difficulty_judge
    judge = params.judges[name]
    sampling = Sampling(max_tokens=judge.max_tokens, temperature=judge.temperature, seed=params.seed)
    engine = open_judge_engine(name, params, paths)
    try:
        with Store(paths.store, fresh=fresh, account=Account("difficulty", params)) as store:
            return ask_difficulties(
                candidates,
                Contestant(name, engine, sampling, role="judge"),
                template,
                store,
                attempts=judge.attempts,
                max_refused=params.serving.max_refused,
                retry=retry,
            )
    finally:
        engine.close()


def ask_difficulties(
    instructions: Sequence[Instruction],
    judge: Contestant,
    template: DifficultyTemplate,
    store: Store,
    *,
    attempts: int = 1,
    max_refused: float = MAX_REFUSED,
    retry: bool = False,
) -> RatedSet:
    """Ask a model for the difficulty of each instruction, through the store.

    Args:
        instructions: what to rate.
        judge: the model, with the sampling of its first attempt.
        template: the prompt.
        store: holds the replies.
        attempts: how often a malformed reply is asked for anew, as `JudgeParams.attempts`.
        max_refused: the share that the engine may refuse (`serving.max_refused`).
        retry: ask again for what was refused or malformed in an earlier run.

    Raises:
        ArenaError: the engine cannot answer, or refuses too many.
    """
    samplings = [sampling_of_attempt(judge.sampling, attempt) for attempt in range(1, attempts + 1)]
    judges = [judge._replace(sampling=sampling) for sampling in samplings]
    found = RatedSet({}, 0, 0.0, 0)
    for one in judges:
        found = _ask_unrated(found, instructions, one, template, store, max_refused, retry=retry)
    if retry and (left := _unrated(found, instructions)):
        for one in judges:
            forget_answers(one, [template.prompt(instruction) for instruction in left], store)
        for one in judges:
            found = _ask_unrated(found, left, one, template, store, max_refused)
    return found


def _ask_unrated(
    before: RatedSet,
    instructions: Sequence[Instruction],
    judge: Contestant,
    template: DifficultyTemplate,
    store: Store,
    most: float,
    *,
    retry: bool = False,
) -> RatedSet:
    """Ask once for what has no rating yet; return all ratings."""
    prompts = [template.prompt(one) for one in _unrated(before, instructions)]
    if not prompts:
        return before
    asked = ask_contestant_for(judge, prompts, store, max_refused=most, retry=retry)
    return RatedSet(
        before.ratings | {response.instruction_id: _rating(response) for response in asked.responses},
        before.asked + asked.generated,
        before.seconds + asked.seconds,
        before.tokens + asked.tokens,
    )


def _unrated(found: RatedSet, instructions: Sequence[Instruction]) -> list[Instruction]:
    """Return the instructions without a rating, but for those that the judge refuses."""
    known = found.ratings
    return [
        one
        for one in instructions
        if one.id not in known or (known[one.id].difficulty is None and not known[one.id].refused)
    ]


def _rating(response: Response) -> DifficultyRating:
    if response.refusal:
        return DifficultyRating(None, f"the judge was refused: {response.refusal}", refused=True)
    return read_difficulty(response.text, cut_off=response.finish_reason == "length")
