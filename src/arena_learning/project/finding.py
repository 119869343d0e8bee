"""What `arena doctor` finds: the shape that all its checks share."""

from __future__ import annotations

from typing import Literal, NamedTuple

Level = Literal["ok", "warn", "fail"]


class DoctorFinding(NamedTuple):
    """One line of `arena doctor`: its severity, the finding, and how to fix it."""

    level: Level
    what: str
    hint: str = ""
