"""What those share who are asked at the same time in one stage: the rest of the budget, and the end of the stage.

Each has a thread and a store of its own. All these stores have the same account, and the account has one `Together`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

_LOOK_SECONDS = 0.5  # a wait is looked at so often, in case that nobody wakes it


class Ended(Exception):  # noqa: N818 - it is no error
    """Raised in one who has to end because another one failed, or because of Ctrl-C. It is no error to be told."""


class Together:
    """Holds parts of a budget for requests in flight, and ends all when one fails.

    Without it two threads might both be given the same rest of a budget.

    Attributes:
        changed: must be held while a part is looked for and taken; see `hold` and `wait`.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._held: dict[object, dict[str, float]] = {}
        self._ended_by: object = None

    def end(self, by: object) -> None:
        """Let all end but ``by``, who has failed: they raise `Ended` at their next `check`."""
        with self.changed:
            if self._ended_by is None:
                self._ended_by = by
            self.changed.notify_all()

    @property
    def ended(self) -> bool:
        """Whether somebody has failed."""
        return self._ended_by is not None

    def check(self, who: object) -> None:
        """Raise `Ended` if somebody else has failed."""
        if self._ended_by not in (None, who):
            raise Ended

    def hold(self, who: object, amounts: Mapping[str, float]) -> None:
        """Hold what requests in flight may take; it replaces what ``who`` held before."""
        self._held[who] = dict(amounts)

    def held_by_others(self, who: object, what: str) -> float:
        """Return how much of an amount the others hold."""
        return sum(amounts.get(what, 0.0) for other, amounts in self._held.items() if other is not who)

    def free(self, who: object) -> None:
        """Hold nothing more for ``who``: what its requests took is booked as spent."""
        with self.changed:
            if self._held.pop(who, None):
                self.changed.notify_all()

    def wait(self) -> None:
        """Wait until somebody frees a part or fails, or for half a second."""
        self.changed.wait(_LOOK_SECONDS)
