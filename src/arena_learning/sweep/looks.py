"""How often sweeps have looked at a confirmation half: counted by its data, whichever study or call looked.

Who tries ten spaces and confirms each winner on the same pairs has made ten attempts, and one of them may well look
better by chance: p values are multiplied by the number of looks (Bonferroni).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from filelock import FileLock

from arena_learning.core import ArenaError, Paths, canonical, write_text
from arena_learning.sweep.space import values_digest


def marks(items: Iterable[Any]) -> list[str]:
    """Return a half as the digests of its items, whatever file or order they come in.

    Args:
        items: what each item is known by, as JSON: its texts, not its id.
    """
    return sorted({values_digest(item, 16) for item in items})


def note_look(paths: Paths, study: str, half: Sequence[str], trials: Sequence[int]) -> int:
    """Write a look down, and return how many there have been at any item of this half, this one included.

    Halves that share an item are counted together: a file with one more pair is not a new one.

    Args:
        paths: the project.
        study: who looks.
        half: see `marks`.
        trials: which of its trials are measured there.

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
                hint="restore it; without it earlier looks are not counted",
            ) from None
        row = canonical({"study": study, "trials": list(trials), "half": list(half)})
        write_text(path, f"{text}{row}\n")
    return earlier + 1


def corrected(p: float, looks: int) -> float:
    """Return a p value after so many looks at the same data."""
    return min(1.0, p * looks)


def looks_line(report: Mapping[str, Any]) -> str:
    """Return how often a report's confirmation half has been looked at, in words."""
    if "half" not in report:
        return "written before looks at this half were counted: p may be too small"
    count = int(report["looks"])
    if count == 1:
        return "the first look of a sweep at this half"
    return f"look {count} of sweeps at this half or a part of it: p is multiplied by {count}"
