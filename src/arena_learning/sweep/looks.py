"""Count how often sweeps have looked at a confirmation half, identified by its data, over all studies and calls.

Trying ten spaces and confirming each winner on the same pairs makes ten attempts, one of which may look better by
chance: p values are multiplied by the number of looks (Bonferroni).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from filelock import FileLock

from arena_learning.core import ArenaError, Paths, canonical, write_text
from arena_learning.sweep.space import values_digest


def marks(items: Iterable[Any]) -> list[str]:
    """Return digests of a half's items, which do not depend on their file or order.

    Args:
        items: what identifies each item, as JSON: its texts, not its id.
    """
    return sorted({values_digest(item, 16) for item in items})


def note_look(paths: Paths, study: str, half: Sequence[str], trials: Sequence[int]) -> int:
    """Record a look, and return the number of looks at any item of this half, this one included.

    Halves that share an item are counted together: a file with one more pair is not a new half.

    Args:
        paths: the project.
        study: the study that looks.
        half: see `marks`.
        trials: the trials that are measured there.

    Raises:
        ArenaError: the list of looks is damaged.
    """
    path = paths.sweep_looks
    with FileLock(path.with_suffix(".lock")):
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        own = set(half)
        try:
            earlier = sum(not own.isdisjoint(json.loads(line)["half"]) for line in text.splitlines())
        except (ValueError, KeyError, TypeError):
            raise ArenaError(
                "the list of looks at confirmation halves is damaged",
                where=str(path),
                hint="restore the file; without it earlier looks are not counted",
            ) from None
        row = canonical({"study": study, "trials": list(trials), "half": list(half)})
        write_text(path, f"{text}{row}\n")
    return earlier + 1


def corrected(p: float, looks: int) -> float:
    """Return a p value corrected for the number of looks at the same data."""
    return min(1.0, p * looks)


def looks_line(report: Mapping[str, Any]) -> str:
    """Return a line that says how often the report's confirmation half has been looked at."""
    if "half" not in report:
        return "this report does not count looks at the half: p may be too small"
    count = int(report["looks"])
    if count == 1:
        return "first look of a sweep at this half"
    return f"look {count} of sweeps at this half or a part of it: p is multiplied by {count}"
