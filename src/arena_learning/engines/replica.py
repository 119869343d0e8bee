"""What a copy of an engine is in its process on Ray; `replicas` asks it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import NamedTuple

from arena_learning.core import ArenaError
from arena_learning.engines.base import Answered, Conversation, Engine, stream_answers
from arena_learning.params import Sampling


class Failure(NamedTuple):
    """An `ArenaError` on its way from a copy; Ray would wrap the error itself."""

    what: str
    where: str
    hint: str


class Replica:
    """An engine in a process of its own, and again in a new one after that died.

    Args:
        make: opens the engine.
        fingerprint: that of the engine here; one with another is refused.
        where: the section of params.yaml, for errors.
    """

    def __init__(self, make: Callable[[], Engine], fingerprint: dict[str, str], where: str) -> None:
        self._make, self._fingerprint, self._where = make, fingerprint, where
        self._engine: Engine | None = None

    def ready(self) -> Failure | None:
        """Open the engine; return why it cannot be used."""
        try:
            self._opened()
        except ArenaError as error:
            return Failure(error.what, error.where, error.hint)
        return None

    def answer(
        self, conversations: list[Conversation], sampling: Sampling, top_logprobs: int
    ) -> list[Answered] | Failure:
        """Answer one batch."""
        try:
            groups = stream_answers(self._opened(), conversations, sampling, top_logprobs=top_logprobs)
            return list(chain.from_iterable(groups))
        except ArenaError as error:
            return Failure(error.what, error.where, error.hint)

    def close(self) -> None:
        """Close the engine, which may have a process of its own."""
        if self._engine is not None:
            self._engine.close()

    def _opened(self) -> Engine:
        """Return the engine; refuse one that would answer otherwise, as its answers would get a wrong key."""
        if self._engine is not None:
            return self._engine
        engine = self._make()
        wanted, found = self._fingerprint, engine.fingerprint
        other = [key for key in wanted | found if wanted.get(key) != found.get(key)]
        if other:
            raise ArenaError(
                f"a replica would answer otherwise: its {other[0]} is {found.get(other[0])!r}, and here it is "
                f"{wanted.get(other[0])!r}",
                where=f"{self._where}.replicas",
                hint="use machines of one kind with one set of packages, and start arena on one of them",
            )
        self._engine = engine
        return engine
