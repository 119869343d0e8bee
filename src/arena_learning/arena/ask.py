"""Asking a contestant through the store: only answers that are new are generated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from arena_learning.engines.base import Completion, Engine, Sampling
from arena_learning.progress import Progress
from arena_learning.rows import Instruction, Response
from arena_learning.store import Store, store_key


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

    Batches are planned over all instructions before the store is read: where an engine's greedy answer depends on its
    batch, a batch is asked whole or not at all, so that a resumed run gives the same answers as an undisturbed one.

    Raises:
        ArenaError: the engine cannot answer.
    """
    engine, size = contestant.engine, contestant.engine.batch_size
    keys = [_key(contestant, instruction) for instruction in instructions]
    known = {key: Completion(**value) for key, value in store.get(keys).items()}
    batches = [range(s, min(s + size, len(keys))) for s in range(0, len(keys), size)]
    paid = 0
    with Progress(f"answer ({contestant.name})", len(keys), "instructions") as progress:
        for batch in batches:
            missing = [i for i in batch if keys[i] not in known]
            todo = list(batch) if missing and not engine.batch_exact else missing
            if todo:
                completions = engine.respond([instructions[i].turns for i in todo], contestant.sampling)
                new = {keys[i]: completion for i, completion in zip(todo, completions, strict=True)}
                store.put("response", {key: completion._asdict() for key, completion in new.items()})
                known.update(new)
                paid += len(todo)
            progress.advance(len(batch))
    completions = [known[key] for key in keys]
    return Asked(
        [_response(contestant.name, i, c) for i, c in zip(instructions, completions, strict=True)],
        paid=paid,
        seconds=sum(c.seconds for c in completions),
        tokens=sum(c.completion_tokens for c in completions),
    )


def _key(contestant: Contestant, instruction: Instruction) -> bytes:
    """Return the answer's key: all that could change it, never the contestant's name."""
    sampling: dict[str, Any] = contestant.sampling.model_dump()
    if contestant.sampling.temperature == 0:
        sampling |= {"top_p": 1.0, "seed": 0}
    turns = [turn.model_dump() for turn in instruction.turns]
    return store_key("response", {"engine": contestant.engine.fingerprint, "sampling": sampling, "turns": turns})


def _response(name: str, instruction: Instruction, completion: Completion) -> Response:
    return Response(
        instruction_id=instruction.id,
        contestant=name,
        text=completion.text,
        finish_reason=completion.finish_reason,
        prompt_tokens=completion.prompt_tokens,
        completion_tokens=completion.completion_tokens,
    )
