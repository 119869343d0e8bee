"""The one exception for what a user can fix."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class ArenaError(Exception):
    """Something a user can fix: what happened, the value and where it stands, and how to fix it.

    The command line prints it without a traceback (unless ``--debug``) and exits with code 2.

    Args:
        what: what is wrong, naming the value.
        where: the file and line, parameter or option it stands in, if known.
        hint: what to do about it, if it does not go without saying.
    """

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        self.what, self.where, self.hint = what, where, hint
        super().__init__(what, where, hint)

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head}\n  hint: {self.hint}" if self.hint else head


def suggest(word: str, known: Iterable[str]) -> str:
    """Return ``"did you mean 'x'? "`` plus the known words, for an unknown ``word``."""
    names = sorted(known)
    close = get_close_matches(word, names, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}known: {', '.join(names)}"
