"""How to add an engine: a parrot, which says the words of the last turn again.

Run the suite on it: ``pytest examples/add_an_engine.py``. In the project, the class stands in a file of its own,
``src/arena_learning/engines/parrot.py``, and two places learn its name: ``Opponent.engine`` in
``params/contestants.py``, and `open_opponent` in ``engines/build.py``, which opens it::

    if opponent.engine == "parrot":
        from arena_learning.engines.parrot import Parrot

        return Parrot(opponent.system)
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

import pytest

from arena_learning.core import words
from arena_learning.engines import Completion, Conversation
from arena_learning.params import Sampling
from arena_learning.testing import EngineConformance, check_engine_closes


class Parrot:
    """Says the words of the last turn again: in order when greedy, else shuffled by the seed.

    Args:
        system: a system prompt; it is counted, and changes nothing.
    """

    batch_size = 16  # conversations that the caller hands over at once
    batch_exact = True  # a greedy answer is the same in any batch

    def __init__(self, system: str = "") -> None:
        self._system = system
        # All that could change an answer besides the conversation and the sampling: the store's key.
        self.fingerprint = {"engine": "parrot", "version": "1", "system": system}

    def respond(self, conversations: Sequence[Conversation], sampling: Sampling) -> list[Completion]:
        """Answer each conversation, in order."""
        return [self._answer(conversation, sampling) for conversation in conversations]

    def close(self) -> None:
        """Give back the memory: a parrot holds none."""

    def _answer(self, conversation: Conversation, sampling: Sampling) -> Completion:
        began = time.perf_counter()
        said = words(conversation[-1].content) or ["Squawk!"]
        if sampling.temperature:
            random.Random(f"{sampling.seed} {' '.join(said)}").shuffle(said)
        spoken = said[: sampling.max_tokens]
        asked = [self._system, *(turn.content for turn in conversation)]
        return Completion(
            text=" ".join(spoken),
            finish_reason="stop" if len(spoken) == len(said) else "length",
            prompt_tokens=sum(
                1 + len(words(text)) for text in asked
            ),  # a word is a token, and so is a turn's end
            completion_tokens=len(spoken),
            seconds=time.perf_counter() - began,
        )


class TestParrot(EngineConformance):
    """The suite, on the parrot."""

    @pytest.fixture
    def engine(self) -> Parrot:
        """Return the engine that the suite asks."""
        return Parrot("You are a bird.")


def test_a_parrot_closes_twice() -> None:
    """Closing cannot be undone, so it is checked on a parrot of its own."""
    check_engine_closes(Parrot())
