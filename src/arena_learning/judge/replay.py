"""A judge that replays recorded verdicts, looked up by instruction and contestants' names."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from arena_learning.core import ArenaError, canonical
from arena_learning.judge.base import Presentation, Verdict
from arena_learning.schema import RecordedVerdict, numbered_rows


class ReplayJudge:
    """Returns the verdicts of a file; what the file lacks is unscored.

    Where the file does not tell in which order a pair was shown, a battle has one game, without flips or positions.

    Args:
        file: JSON Lines of `RecordedVerdict`, as `arena import` writes them.

    Raises:
        ArenaError: the file is missing or malformed, judges a pair twice, or mixes known and unknown orders.
    """

    batch_size = 4096
    remembered = False  # the file holds the verdicts, and they depend on contestants' names

    def __init__(self, file: Path) -> None:
        self._verdicts: dict[tuple[str, str, str], RecordedVerdict] = {}
        known = set()
        digest = hashlib.sha256()
        for number, row in numbered_rows(file, RecordedVerdict):
            known.add(row.order_known)
            key = self._place(row.instruction_id, row.first, row.second, row.order_known)
            if key in self._verdicts:
                raise ArenaError(
                    f"{row.first} and {row.second} are judged twice on {row.instruction_id}",
                    where=f"{file}, line {number}",
                    hint="keep one of the two rows",
                )
            self._verdicts[key] = row
            digest.update(canonical(row.model_dump()).encode())
        if len(known) > 1:
            raise ArenaError(
                "the order is known for some rows and unknown for others",
                where=str(file),
                hint="split the file in two",
            )
        self.both_orders = known != {False}
        self.label = f"replay {file.stem} {digest.hexdigest()[:8]}"
        self.fingerprint = {"judge": self.label, "verdicts": digest.hexdigest()}

    def score(self, presentations: Sequence[Presentation]) -> list[Verdict]:
        """Return the recorded verdict of each presentation."""
        return [self._verdict(p) for p in presentations]

    def close(self) -> None:
        """Nothing to free."""

    def _verdict(self, presentation: Presentation) -> Verdict:
        first, second = presentation.first.contestant, presentation.second.contestant
        place = self._place(presentation.instruction.id, first, second, self.both_orders)
        row = self._verdicts.get(place)
        if row is None:
            return Verdict(None, None, "", unscored="no recorded verdict")
        scores = (row.score_first, row.score_second)
        one, two = scores if row.first == first else scores[::-1]
        return Verdict(one, two, row.rationale)

    @staticmethod
    def _place(instruction_id: str, first: str, second: str, order_known: bool) -> tuple[str, str, str]:
        a, b = (first, second) if order_known else sorted((first, second))
        return instruction_id, a, b
