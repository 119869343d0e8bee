"""Asking a contestant through the store: only answers that are new are generated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from arena_learning.engines.base import Completion, Engine, Refused, Sampling, answers
from arena_learning.errors import ArenaError
from arena_learning.progress import Progress
from arena_learning.rows import Instruction, Response
from arena_learning.sharing import shares
from arena_learning.store import Store, store_key

_SHOWN = 5  # refused instructions named in an error


class Contestant(NamedTuple):
    """A model that can be asked: its name, engine (which knows its system prompt) and sampling."""

    name: str
    engine: Engine
    sampling: Sampling


class Asked(NamedTuple):
    """A contestant's responses in the order of the instructions, how many were paid now, and what all cost ever."""

    responses: list[Response]
    paid: int
    seconds: float
    tokens: int


def ask(contestant: Contestant, instructions: Sequence[Instruction], store: Store) -> Asked:
    """Return the contestant's answer to every instruction.

    An answer is in the store as soon as its engine gives it, and what another process is asking for is taken from it.
    Batches are planned over all instructions before the store is read: where an engine's greedy answer depends on its
    batch, a batch is asked whole or not at all, so that a resumed run gives the same answers as an undisturbed one.

    Raises:
        ArenaError: the engine cannot answer; what it has answered is in the store.
    """
    engine = contestant.engine
    keys = [_key(contestant, instruction) for instruction in instructions]
    first = {key: place for place, key in reversed(list(enumerate(keys)))}
    distinct = list(dict.fromkeys(keys))
    known: dict[bytes, Completion] = {}
    paid = 0
    refused: dict[str, str] = {}
    with Progress(f"answer ({contestant.name})", len(distinct), "instructions") as progress:
        for share in shares(
            store,
            distinct,
            engine.batch_size,
            whole=not engine.batch_exact,
            waiting=lambda count: progress.advance(0, f"waiting for {count} of another process"),
        ):
            known.update((key, Completion(**value)) for key, value in share.known.items())
            progress.total -= len(share.known)
            turns = [instructions[first[key]].turns for key in share.mine]
            for group in answers(engine, turns, contestant.sampling):
                given = {share.mine[n]: answer for n, answer in group}
                new = {key: answer for key, answer in given.items() if isinstance(answer, Completion)}
                store.put("response", {key: _kept(completion) for key, completion in new.items()})
                known.update(new)
                refused |= {
                    instructions[first[key]].id: a.reason
                    for key, a in given.items()
                    if isinstance(a, Refused)
                }
                paid += len(group)
                progress.advance(len(group))
    if refused:
        raise _refusal(contestant.name, refused)
    completions = [known[key] for key in keys]
    return Asked(
        [_response(contestant.name, i, c) for i, c in zip(instructions, completions, strict=True)],
        paid=paid,
        seconds=sum(c.seconds for c in completions),
        tokens=sum(c.completion_tokens for c in completions),
    )


def _refusal(name: str, refused: dict[str, str]) -> ArenaError:
    some = "; ".join(f"'{i}': {reason}" for i, reason in sorted(refused.items())[:_SHOWN])
    return ArenaError(
        f"'{name}' does not answer {len(refused)} instructions ({some})",
        mend="drop or change them; all other answers are kept",
    )


def _key(contestant: Contestant, instruction: Instruction) -> bytes:
    """Return the answer's key: all that could change it, never the contestant's name."""
    sampling: dict[str, Any] = contestant.sampling.model_dump()
    if contestant.sampling.temperature == 0:
        sampling |= {"top_p": 1.0, "seed": 0}
    turns = [turn.model_dump() for turn in instruction.turns]
    return store_key(
        "response", {"engine": contestant.engine.fingerprint, "sampling": sampling, "turns": turns}
    )


def _kept(completion: Completion) -> dict[str, Any]:
    """Return what the store remembers of an answer."""
    return {field: value for field, value in completion._asdict().items() if field != "tokens"}


def _response(name: str, instruction: Instruction, completion: Completion) -> Response:
    return Response(
        instruction_id=instruction.id,
        contestant=name,
        text=completion.text,
        finish_reason=completion.finish_reason,
        prompt_tokens=completion.prompt_tokens,
        completion_tokens=completion.completion_tokens,
    )
