"""What the store has of a contestant's answers: their keys, their stored form, and the rows made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from arena_learning.engines import Completion, Engine, Refused, Versioned, older_fingerprints
from arena_learning.params import Sampling
from arena_learning.schema import Instruction, Response
from arena_learning.store import Store, store_key


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


def answer_keys(contestant: Contestant, instructions: Sequence[Instruction]) -> list[list[bytes]]:
    """Return the keys under which the store may have the answer to each instruction, the current one first."""
    fingerprints = [None, *older_fingerprints(contestant.engine)]
    return [
        [answer_key(contestant, instruction, fingerprint) for fingerprint in fingerprints]
        for instruction in instructions
    ]


def answer_key(
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


def read_completion(value: dict[str, Any], engine: Engine) -> Completion | Refused:
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


def stored_answer(completion: Completion) -> dict[str, Any]:
    """Return the stored form of an answer."""
    return {field: value for field, value in completion._asdict().items() if field != "tokens"}


def to_response(contestant: Contestant, instruction: Instruction, answer: Completion | Refused) -> Response:
    """Return an answer or refusal as a row of the round's or the test set's answers."""
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


def forget_answers(contestant: Contestant, instructions: Sequence[Instruction], store: Store) -> None:
    """Delete the contestant's stored answers to ``instructions``, so that they are generated again."""
    store.forget([answer_key(contestant, instruction) for instruction in instructions])


class StoredAnswers:
    """A contestant's answers as they come into the store from another process; nothing is generated here.

    Args:
        contestant: the model that another process asks.
        instructions: what it is asked.
        store: holds the answers.
    """

    def __init__(self, contestant: Contestant, instructions: Sequence[Instruction], store: Store) -> None:
        self._contestant, self._store = contestant, store
        self._missing = [(answer_key(contestant, instruction), instruction) for instruction in instructions]

    def new(self) -> list[Response]:
        """Return the answers that have come since the last call."""
        values = self._store.get([key for key, _ in self._missing])
        come = [(values[key], instruction) for key, instruction in self._missing if key in values]
        self._missing = [pair for pair in self._missing if pair[0] not in values]
        engine = self._contestant.engine
        return [to_response(self._contestant, i, read_completion(value, engine)) for value, i in come]
