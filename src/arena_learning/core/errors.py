"""The exception for errors that a user can fix."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class ArenaError(Exception):
    """An error that a user can fix: what happened, where, and how to fix it.

    The command line prints it without a traceback (unless ``--debug``) and exits with code 2.

    Args:
        what: what is wrong, including the value.
        where: the file and line, parameter or option with the error, if known.
        hint: how to fix it, unless that is obvious.

    Example:
        >>> print(ArenaError("no judge 'lmm'", where="params.yaml, judge.name", hint="did you mean 'llm'?"))
        params.yaml, judge.name: no judge 'lmm'
          hint: did you mean 'llm'?
    """

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        self.what, self.where, self.hint = what, where, hint
        super().__init__(what, where, hint)

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head}\n  hint: {self.hint}" if self.hint else head


def suggest(word: str, known: Iterable[str]) -> str:
    """Return ``"did you mean 'x'? known: x, y"`` for an unknown ``word``; the question only with a close match."""
    names = sorted(known)
    close = get_close_matches(word, names, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}known: {', '.join(names)}"
