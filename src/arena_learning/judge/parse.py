"""Reading scores out of what a judge model wrote. The last well-formed verdict counts; anything else is unscored."""

from __future__ import annotations

import re
from typing import NamedTuple

# A score line, or a second score behind the first on its line. Neither pattern crosses a line.
_SCORE = re.compile(
    r"(?:^[ \t*_#>-]*|(?<=\d)[*_]*[,;|]?[ \t]+[*_]*)"
    r"Score[ \t_-]*([AB])[ \t*_]*[:=][ \t*_]*(-?\d{1,9}(?:\.\d{1,9})?)(?![\d.]*\d)(?:[ \t]*/[ \t]*10\b)?",
    re.I | re.M,
)


class Scores(NamedTuple):
    """Both scores, or the reason why there are none."""

    a: float | None
    b: float | None
    problem: str | None = None


def read_scores(text: str) -> Scores:
    """Return the last complete verdict in ``text``: a ``Score-A`` line followed by a ``Score-B`` line (or B then A).

    Scores outside 1-10 are malformed, not clipped.
    """
    found = [(m.group(1).upper(), float(m.group(2))) for m in _SCORE.finditer(text)]
    if not found:
        return Scores(None, None, "no score line" if text.strip() else "an empty verdict")
    last: dict[str, float] | None = None
    pending: dict[str, float] = {}
    for letter, score in found:
        # A letter said again starts anew: what stood before it is no verdict.
        pending = {letter: score} if letter in pending else {**pending, letter: score}
        if len(pending) == 2:
            last, pending = pending, {}
    if last is None:
        return Scores(None, None, f"only a score for {found[-1][0]}")
    if not all(1 <= score <= 10 for score in last.values()):
        return Scores(None, None, "a score outside 1 to 10")
    return Scores(last["A"], last["B"])
