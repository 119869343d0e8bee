"""Which stage makes a file of a project, for those who ask for it too early."""

from __future__ import annotations

import re
from pathlib import Path

ALL = "`arena repro`"
# A path's end below the project's root, and the command that makes it; ``{}`` is the folder or file before the suffix.
_MAKERS = tuple(
    (re.compile(rf"(?:^|/){place}$"), command)
    for place, command in (
        (r"data/prepared/[^/]+", "arena prepare"),
        (r"data/rounds/([^/]+)/(?:responses|samples)\.jsonl", "arena battle {}"),
        (r"data/rounds/([^/]+)/(?:games|battles|sample_scores)\.jsonl", "arena judge {}"),
        (r"data/rounds/([^/]+)/(?:sft|preferences|card)\.jsonl?", "arena dataset {}"),
        (r"data/arena/(?:answers|responses)/([^/]+)\.jsonl", "arena answer {}"),
        (r"models/base", "arena weights"),
        (r"models/([^/]+)", "arena train {}"),
        (r"reports/leaderboard\.json", "arena leaderboard"),
    )
)


def how_to_make(path: Path) -> str:
    """Return the hint for a file or folder that a stage makes.

    Example:
        >>> how_to_make(Path("data/prepared/test.jsonl"))
        'run `arena repro`, or `arena prepare` alone'
        >>> how_to_make(Path("notes.json"))
        'run `arena repro`, which runs the stage that makes it'
    """
    for pattern, command in _MAKERS:
        if found := pattern.search(path.as_posix()):
            return f"run {ALL}, or `{command.format(*found.groups())}` alone"
    return f"run {ALL}, which runs the stage that makes it"
