"""Ask a contestant through the store: only answers that the store lacks are generated."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from arena_learning.core import ArenaError, Progress, logger
from arena_learning.engines import (
    MAX_REFUSED,
    Completion,
    Engine,
    Refused,
    Versioned,
    is_exact,
    older_fingerprints,
    stream_answers,
    too_many_refused,
)
from arena_learning.params import Sampling
from arena_learning.schema import Instruction, Response
from arena_learning.store import (
    Longest,
    Requests,
    Spent,
    Store,
    lease_work,
    longest_request,
    store_key,
    within_budget,
)

_SHOWN = 5  # refused instructions named in an error


class Contestant(NamedTuple):
    """A model that can be asked: its name, engine (which knows its system prompt) and sampling.

    ``sample`` is which of its samples the answers are (see `Response.sample`). It is no part of the store's keys: what
    tells two samples apart is the seed of their sampling. ``role`` is under which section of params.yaml it is named:
    by it the requests are paid.
    """

    name: str
    engine: Engine
    sampling: Sampling
    sample: int = 0
    role: Literal["contestant", "judge"] = "contestant"

    @property
    def label(self) -> str:
        """What its progress line calls it."""
        return f"{self.name}, sample {self.sample}" if self.sample else self.name


class ContestantAnswers(NamedTuple):
    """A contestant's responses in the instructions' order, the number of new ones, and the total cost of all."""

    responses: list[Response]
    generated: int
    seconds: float
    tokens: int


def ask_contestant_for(
    contestant: Contestant,
    instructions: Sequence[Instruction],
    store: Store,
    *,
    max_refused: float = MAX_REFUSED,
    retry: bool = False,
) -> ContestantAnswers:
    """Return the contestant's answer to every instruction.

    Each answer is stored as soon as the engine returns it. Answers that another process is generating are awaited.
    Batches are planned over all instructions before the store is read. Where an engine's greedy answer depends on its
    batch, a batch is generated whole or not at all, so a resumed run gives the same answers as an uninterrupted one.
    The same holds for sampled answers where the engine draws them by the batch (`engines.is_exact`).

    Args:
        contestant: the model to ask.
        instructions: the conversations to answer.
        store: holds the answers, and the refusals of a run that finished.
        max_refused: the share of the instructions that may be refused (`serving.max_refused`); a few always may.
        retry: ask again for what was refused in an earlier run.

    Raises:
        ArenaError: the engine cannot answer, or too many instructions are refused; the answers so far stay stored.
        Ended: another contestant that is asked at the same time has failed (`store.Together`).

    Example:
        asked = ask_contestant_for(Contestant("base", engine, Sampling()), instructions, store)
        print(asked.responses[0].text, asked.generated)
    """
    engine = contestant.engine
    keys = [_key(contestant, instruction) for instruction in instructions]
    first = {key: place for place, key in reversed(list(enumerate(keys)))}
    distinct = list(dict.fromkeys(keys))
    for fingerprint in older_fingerprints(engine):
        store.adopt({key: _key(contestant, instructions[first[key]], fingerprint) for key in distinct})
    if retry:
        store.forget([key for key, value in store.get(distinct).items() if "refused" in value])
    known: dict[bytes, Completion | Refused] = {}
    refused: dict[bytes, Refused] = {}
    generated = 0
    whole = not is_exact(engine, contestant.sampling)
    payer = store.account.payer(contestant.role, contestant.name)
    with Progress(f"answer ({contestant.label})", len(distinct), "instructions") as progress:
        asked = Requests(
            payer,
            engine.batch_size,
            whole,
            longest=lambda key: _longest(instructions[first[key]], contestant.sampling),
            missing=lambda: f"{progress.total - progress.done} answers of '{contestant.label}'",
        )
        for share in lease_work(
            store,
            distinct,
            engine.batch_size,
            whole=whole,
            waiting=lambda count: progress.advance(0, f"waiting for {count} of another process"),
        ):
            remembered = {key: _remembered(value, engine) for key, value in share.known.items()}
            known |= remembered
            refused |= {key: answer for key, answer in remembered.items() if isinstance(answer, Refused)}
            progress.total -= len(share.known)
            for mine in within_budget(store, share.mine, asked):
                turns = [instructions[first[key]].turns for key in mine]
                for group in stream_answers(engine, turns, contestant.sampling):
                    given = {mine[n]: answer for n, answer in group}
                    new = {key: answer for key, answer in given.items() if isinstance(answer, Completion)}
                    kept = {key: _kept(completion) for key, completion in new.items()}
                    store.put("response", kept, payer=payer, spent=_spent(given.values()))
                    store.account.together.check(store)
                    known |= given
                    refused |= {key: answer for key, answer in given.items() if isinstance(answer, Refused)}
                    generated += len(group)
                    progress.advance(len(group))
                    if too_many_refused(len(refused), len(distinct), max_refused):
                        reasons = {instructions[first[key]].id: a.reason for key, a in refused.items()}
                        raise _refusal(contestant.name, reasons, len(distinct), len(known) - len(refused))
    # Refusals are stored only now: a run that stops for them has a fault to be fixed, and then all are asked again.
    lasting = {key: {"refused": refusal.reason} for key, refusal in refused.items() if not refusal.passing}
    store.put("response", lasting)
    logger.debug(
        f"{contestant.label}: {generated} of {len(distinct)} answers generated, the others remembered"
    )
    given_all = [known[key] for key in keys]
    completions = [answer for answer in given_all if isinstance(answer, Completion)]
    return ContestantAnswers(
        [_response(contestant, i, a) for i, a in zip(instructions, given_all, strict=True)],
        generated=generated,
        seconds=sum(c.seconds for c in completions),
        tokens=sum(c.completion_tokens for c in completions),
    )


def forget_answers(contestant: Contestant, instructions: Sequence[Instruction], store: Store) -> None:
    """Delete the contestant's stored answers to ``instructions``, so that they are generated again."""
    store.forget([_key(contestant, instruction) for instruction in instructions])


_SOME = (
    "see what the refused instructions have in common; all other answers are kept. To go on without these, raise "
    "serving.max_refused"
)
_EACH = (
    "all for one reason: put that right and run again. Behind an endpoint, check base_url (most end in /v1) and model; "
    "a field of the request that it does not know can be left out with `omit`"
)


def _longest(instruction: Instruction, sampling: Sampling) -> Longest:
    return longest_request(sum(len(turn.content.encode()) for turn in instruction.turns), sampling.max_tokens)


def _spent(answers: Collection[Completion | Refused]) -> Spent:
    completions = [answer for answer in answers if isinstance(answer, Completion)]
    prompts = sum(c.prompt_tokens for c in completions)
    return Spent(
        made=len(completions),
        requests=len(answers),
        tokens=prompts + sum(c.completion_tokens for c in completions),
        prompt_tokens=prompts,
        seconds=sum(c.seconds for c in completions),
    )


class StoredAnswers:
    """A contestant's answers as they come into the store from another process; nothing is generated here.

    Args:
        contestant: the model that another process asks.
        instructions: what it is asked.
        store: holds the answers.
    """

    def __init__(self, contestant: Contestant, instructions: Sequence[Instruction], store: Store) -> None:
        self._contestant, self._store = contestant, store
        self._missing = [(_key(contestant, instruction), instruction) for instruction in instructions]

    def new(self) -> list[Response]:
        """Return the answers that have come since the last call."""
        values = self._store.get([key for key, _ in self._missing])
        come = [(values[key], instruction) for key, instruction in self._missing if key in values]
        self._missing = [pair for pair in self._missing if pair[0] not in values]
        engine = self._contestant.engine
        return [_response(self._contestant, i, _remembered(value, engine)) for value, i in come]


def _refusal(name: str, reasons: Mapping[str, str], total: int, answered: int) -> ArenaError:
    alike = not answered and len(reasons) > 1 and len(set(reasons.values())) == 1
    some = "; ".join(f"'{i}': {reason}" for i, reason in sorted(reasons.items())[:_SHOWN])
    return ArenaError(
        f"'{name}' refuses {len(reasons)} of {total} instructions ({some})",
        hint=_EACH if alike else _SOME,
    )


def _remembered(value: dict[str, Any], engine: Engine) -> Completion | Refused:
    """Return a stored answer; one stored before thoughts were kept apart is split now."""
    if "refused" in value:
        return Refused(value["refused"])
    completion = Completion(**value)
    if "thought" in value or not isinstance(engine, Versioned):
        return completion
    said = engine.said(completion.text)
    if said.text == completion.text:
        return completion
    share = 1 - len(said.text) / len(completion.text)  # an estimate: the thought's tokens were not counted
    return completion._replace(
        text=said.text, thought=said.thought, thought_tokens=round(share * completion.completion_tokens)
    )


def answer_keys(contestant: Contestant, instructions: Sequence[Instruction]) -> list[list[bytes]]:
    """Return the keys under which the store may have the answer to each instruction, the current one first."""
    fingerprints = [None, *older_fingerprints(contestant.engine)]
    return [
        [_key(contestant, instruction, fingerprint) for fingerprint in fingerprints]
        for instruction in instructions
    ]


def _key(
    contestant: Contestant, instruction: Instruction, fingerprint: Mapping[str, str] | None = None
) -> bytes:
    """Return the store's key of an answer: all that can change the answer, but not the contestant's name.

    ``fingerprint``: an earlier fingerprint of the engine; by default the current one.
    """
    sampling: dict[str, Any] = contestant.sampling.model_dump()
    if contestant.sampling.temperature == 0:
        sampling |= {"top_p": 1.0, "seed": 0}
    engine = contestant.engine
    variant = engine.variant(instruction.turns) if isinstance(engine, Versioned) else ""
    parts: dict[str, Any] = {
        "engine": fingerprint or engine.fingerprint,
        "sampling": sampling,
        "turns": [turn.model_dump() for turn in instruction.turns],
    }
    return store_key("response", parts | ({"variant": variant} if variant else {}))


def _kept(completion: Completion) -> dict[str, Any]:
    """Return the stored form of an answer."""
    return {field: value for field, value in completion._asdict().items() if field != "tokens"}


def _response(contestant: Contestant, instruction: Instruction, answer: Completion | Refused) -> Response:
    if isinstance(answer, Refused):
        return Response(
            instruction_id=instruction.id,
            contestant=contestant.name,
            text="",
            finish_reason="refused",
            prompt_tokens=0,
            completion_tokens=0,
            refusal=answer.reason,
            sample=contestant.sample,
        )
    return Response(
        instruction_id=instruction.id,
        contestant=contestant.name,
        text=answer.text,
        finish_reason=answer.finish_reason,
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        thought=answer.thought,
        thought_tokens=answer.thought_tokens,
        sample=contestant.sample,
    )
