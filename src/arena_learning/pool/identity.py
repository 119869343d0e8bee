"""What tells one test set from another."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from arena_learning.core import canonical
from arena_learning.schema import Instruction


def fingerprint(instructions: Sequence[Instruction]) -> str:
    """Return what identifies a test set: a digest of ids and conversations, in any order."""
    rows = sorted(canonical([one.id, [turn.model_dump() for turn in one.turns]]) for one in instructions)
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]
