"""Reading scores out of what a judge model wrote. The last well-formed verdict counts; anything else is unscored."""

from __future__ import annotations

import re
from typing import NamedTuple

_LINE = re.compile(r"^[\s*_#>-]*Score[\s_-]*([AB])[\s*_]*[:=][\s*_]*(-?\d+(?:\.\d+)?)(?:\s*/\s*10)?", re.I | re.M)


class Scores(NamedTuple):
    """Both scores, or the reason why there are none."""

    a: float | None
    b: float | None
    problem: str | None = None


def read_scores(text: str) -> Scores:
    """Return the last complete verdict in ``text``: a ``Score-A`` line followed by a ``Score-B`` line (or B then A).

    Scores outside 1-10 are malformed, not clipped.
    """
    found = [(m.group(1).upper(), float(m.group(2))) for m in _LINE.finditer(text)]
    if not found:
        return Scores(None, None, "no score line" if text.strip() else "an empty verdict")
    for (x, first), (y, second) in reversed(list(zip(found, found[1:], strict=False))):
        if x == y:
            continue
        a, b = (first, second) if x == "A" else (second, first)
        if not (1 <= a <= 10 and 1 <= b <= 10):
            return Scores(None, None, "a score outside 1 to 10")
        return Scores(a, b)
    return Scores(None, None, f"only a score for {found[-1][0]}")
