"""Difficulties of instructions, rated by a language model (paper, section 4.2), for test sets of hard instructions.

The replies are stored like answers, by all that could change them. So a rating that was killed goes on, no stored reply
is asked for again, and stored replies are read again where this code reads them differently. A kill costs the replies
that are not stored yet: of an endpoint at most ``concurrency`` in flight, and those of the last hundredths of a second.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from arena_learning.arena import Contestant, ask_contestant_for, forget_answers
from arena_learning.core import ArenaError, Paths, suggest
from arena_learning.engines import MAX_REFUSED
from arena_learning.judge.build import open_judge_engine
from arena_learning.judge.llm import sampling_of_attempt
from arena_learning.judge.number import is_changed, plain_number, quoted, read_value
from arena_learning.judge.template import escape_delimiters, read_own_template
from arena_learning.judge.verdict_text import split_verdict
from arena_learning.params import Params, Sampling
from arena_learning.pool import RatedDifficulty, difficulty_candidates
from arena_learning.schema import Instruction, Response, Turn, write_rows
from arena_learning.store import Account, Store

TEMPLATE = "difficulty"  # the shipped one
_LINE = re.compile(r"^[ \t*_#>|•`-]*Difficulty[ \t*_`]*[:=：＝][ \t*_]*(.*)$", re.IGNORECASE | re.MULTILINE)
# Where the conversation itself has such a line, a quotation of it must not count as the rating.
_OWN = re.compile(r"Difficulty(?=[\"'`*_ \t]*[:=：＝])", re.IGNORECASE)
_LEAST, _MOST = 0, 10


class DifficultyRating(NamedTuple):
    """A difficulty from 0 to 10, or the problem why there is none; ``refused``: there was no reply at all."""

    difficulty: float | None
    problem: str = ""
    refused: bool = False


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

    Args:
        params: the pool, the judge and the test set.
        paths: the project's paths.
        fresh: ask again for what the store has.
        retry: ask again for what has no rating so far.

    Returns:
        Numbers: ``candidates``, ``rated``, ``unscored`` with reasons, ``asked`` now; mean difficulty; cost.

    Raises:
        ArenaError: no judge or file is named, the test set needs no difficulties, the pool cannot be read, or the judge
            cannot be asked.
    """
    name = params.pool.difficulty_judge
    for key, value, such in (
        ("difficulty_judge", name, "a key of judges"),
        ("difficulties", params.pool.difficulties, "data/difficulties.jsonl"),
    ):
        if not value:
            raise ArenaError(
                f"{key} is empty", where=f"params.yaml, pool.{key}", hint=f"name {such}, and run it again"
            )
    path = paths.user_file(params.pool.difficulties, "pool.difficulties", outside=params.files_outside)
    template = DifficultyTemplate(params.pool.difficulty_template, paths.root)
    candidates = difficulty_candidates(params, paths)
    judge = params.judges[name]
    sampling = Sampling(max_tokens=judge.max_tokens, temperature=judge.temperature, seed=params.seed)
    engine = open_judge_engine(name, params, paths)
    try:
        with Store(paths.store, fresh=fresh, account=Account("difficulty", params)) as store:
            rated = ask_difficulties(
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
    rows = [
        RatedDifficulty(id=one.id, difficulty=found, judge=f"{judge.model} {template.name}@{template.digest}")
        for one in candidates
        if (found := rated.ratings[one.id].difficulty) is not None
    ]
    write_rows(path, sorted(rows, key=lambda row: row.id))
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


def read_difficulty(text: str, *, cut_off: bool = False) -> DifficultyRating:
    """Return the difficulty in a model's reply: the last line ``Difficulty: <number>`` after its thought.

    Anything else than one plain number from 0 to 10 is no rating: ``6-7``, ``high``, ``12``.

    Args:
        text: the reply.
        cut_off: whether it ran out of tokens.

    Example:
        >>> read_difficulty("Difficulty: 7/10\\nReason: three steps.").difficulty
        7.0
        >>> read_difficulty("Difficulty: 6 or 7").problem
        "no plain number in 'Difficulty: 6 or 7'"
    """
    said = split_verdict(text, cut_off=cut_off)
    if not said.ended:
        return DifficultyRating(None, "cut off in its thought" if cut_off else "its thought never ended")
    lines = list(_LINE.finditer(said.readable))
    if not lines:
        return DifficultyRating(None, "no line 'Difficulty'" if said.text.strip() else "an empty reply")
    last = lines[-1]
    line = plain_number(last[1])
    value = read_value(line)
    if cut_off and last.end() == len(said.readable):
        return DifficultyRating(None, "cut off in the number's line")
    if value.score is None or is_changed(line[value.end :].rstrip()):
        return DifficultyRating(None, f"no plain number in {quoted(last[0])}")
    if not _LEAST <= value.score <= _MOST:
        return DifficultyRating(None, f"a difficulty outside {_LEAST} to {_MOST}")
    return DifficultyRating(value.score)


class DifficultyTemplate:
    """The prompt that asks for a difficulty.

    Args:
        name: ``difficulty`` for the shipped one, or a path to a ``.jinja`` file.
        root: the folder that a relative path starts from.

    Raises:
        ArenaError: no such template, or it does not parse or render.
    """

    def __init__(self, name: str, root: Path) -> None:
        self.name = name
        source = _read(name, root)
        self.digest = hashlib.sha256(source.encode()).hexdigest()[:12]
        environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
        try:
            self._template = environment.from_string(source)
        except TemplateError as error:
            raise ArenaError(f"the template does not parse: {error}", where=name) from None

    def prompt(self, instruction: Instruction) -> Instruction:
        """Return the question about an instruction, under its id; what could end the prompt is neutralised."""
        turns = [{"role": turn.role, "content": _harmless(turn.content)} for turn in instruction.turns]
        try:
            text = self._template.render(turns=turns, category=instruction.category)
        except (TemplateError, TypeError, ValueError, ArithmeticError) as error:
            raise ArenaError(f"the template does not render: {error}", where=self.name) from None
        return Instruction(id=instruction.id, turns=(Turn(role="user", content=text),))


def _harmless(text: str) -> str:
    return _OWN.sub("Difficulty·", escape_delimiters(text))


def _rating(response: Response) -> DifficultyRating:
    if response.refusal:
        return DifficultyRating(None, f"the judge was refused: {response.refusal}", refused=True)
    return read_difficulty(response.text, cut_off=response.finish_reason == "length")


def _read(name: str, root: Path) -> str:
    if name == TEMPLATE:
        return (files("arena_learning.judge") / "difficulty.jinja").read_text(encoding="utf-8")
    if not name.endswith(".jinja"):
        raise ArenaError(
            f"no template '{name}'",
            where="params.yaml, pool.difficulty_template",
            hint=suggest(name, [TEMPLATE]),
        )
    return read_own_template(name, root)
