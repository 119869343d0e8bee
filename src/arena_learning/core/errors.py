"""The exception for errors that a user can fix."""

from __future__ import annotations

import errno
import os
import shlex
from difflib import get_close_matches
from pathlib import Path
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


def system_error(error: OSError, place: Path | None = None) -> ArenaError | None:
    """Return what a user can do about an error of the system, or None if it is another one.

    Args:
        error: a full disk, a limit on the size of files, or a missing right.
        place: what was written or read; by default the file that the error names, else the current folder.
    """
    where = str(place or error.filename or Path.cwd())
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ArenaError(
            "the disk is full",
            where=where,
            hint="free some space (`arena clean` shows what can go) and run again: answers and verdicts are kept",
        )
    if error.errno == errno.EFBIG:
        return ArenaError(
            "the file may not grow larger: this shell or machine limits the size of files",
            where=where,
            hint="lift the limit with `ulimit -f unlimited`, and run again",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        # `os.path`, since `Path.is_dir` raises where a folder may not be searched.
        folder = next(one for one in (Path(where), *Path(where).absolute().parents) if os.path.isdir(one))
        return ArenaError(
            "you may not write or read here",
            where=where,
            hint=f"as the owner of the files, give yourself the right: `chmod -R u+rwX {shlex.quote(str(folder))}`",
        )
    if error.errno == errno.EROFS:
        return ArenaError(
            "the disk can only be read", where=where, hint="copy the project to another disk and run there"
        )
    return None


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text; its kind if it has none.

    Example:
        >>> first_line(ValueError("\\n no weights\\nat all")), first_line(KeyboardInterrupt())
        ('no weights', 'KeyboardInterrupt')
    """
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def missing_file(path: Path, what: str = "no such file", hint: str = "") -> ArenaError:
    """Return the error for a file of the user that is not there, with the file of the folder that was perhaps meant.

    Args:
        path: where it should be.
        what: what is missing.
        hint: what else to do.
    """
    folder = path.parent
    if folder.is_dir():
        known = sorted(one.name for one in folder.iterdir() if not one.name.startswith("."))
        close = get_close_matches(path.name, known, n=1)
        near = f"did you mean '{close[0]}'?" if close else "correct the path, or put the file there"
    else:
        near = f"there is no folder {folder} either: correct the path"
    return ArenaError(what, where=str(path), hint=f"{near} {hint}".strip())


def suggest(word: str, known: Iterable[str]) -> str:
    """Return ``"did you mean 'x'? known: x, y"`` for an unknown ``word``; the question only with a close match."""
    names = sorted(known)
    close = get_close_matches(word, names, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}known: {', '.join(names)}"
