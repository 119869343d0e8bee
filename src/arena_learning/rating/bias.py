"""Position and length bias of any battle log."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from arena_learning.core import ArenaError
from arena_learning.rating.battles import Battles, battles_from_frame

if TYPE_CHECKING:
    import pandas as pd

    from arena_learning.rating.arrays import Floats


@dataclass(frozen=True)
class BattleBias:
    """How verdicts depend on position and length; shares from 0 to 1, None if there is nothing to count.

    Attributes:
        games: number of verdicts.
        first_wins: share won by the answer in first position (``model_a``).
        second_wins: share won by the second.
        ties: share of ties.
        swapped: number of pairs of verdicts on the same answers in both orders.
        survives: share of these with the same result (contestant or tie) in both orders.
        flip_rate: share with different results: ``1 - survives``.
        reversal_rate: share in which the two orders name different winners (the same position wins twice).
        first_twice: share in which the first position wins both times.
        second_twice: share in which the second does.
        longer_wins: share of decided verdicts won by the longer answer, where lengths differ.
        decided_by_length: number of these verdicts.
        score_gap: mean score in first position minus mean score in second.
    """

    games: int
    first_wins: float
    second_wins: float
    ties: float
    swapped: int
    survives: float | None
    flip_rate: float | None
    reversal_rate: float | None
    first_twice: float | None
    second_twice: float | None
    longer_wins: float | None
    decided_by_length: int
    score_gap: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)


def position_bias(table: pd.DataFrame | Battles) -> BattleBias:
    """Measure position and length bias.

    Args:
        table: one row for each judged game, first position in ``model_a`` (see `battles_from_frame`). Flips need
            ``prompt_id`` and both orders of a pair on a prompt; several verdicts in one order are matched in the
            order of rows. Length bias needs ``length_a`` and ``length_b``.

    Raises:
        ArenaError: a malformed table.

    Example:
        >>> import pandas as pd
        >>> games = pd.DataFrame({"model_a": ["x", "y"], "model_b": ["y", "x"], "winner": ["model_a", "model_a"]})
        >>> position_bias(games.assign(prompt_id="q")).flip_rate
        1.0
    """
    battles = table if isinstance(table, Battles) else battles_from_frame(table)
    repeats = battles.repeats
    total = float(repeats.sum())
    share = np.bincount(battles.points, weights=repeats, minlength=3) / total
    survives = reversal = first_twice = second_twice = None
    forth, back = _both_orders(battles)
    if len(forth):
        one, other = battles.points[forth], battles.points[back]
        survives = float((one == 2 - other).mean())
        first_twice = float(((one == 2) & (other == 2)).mean())
        second_twice = float(((one == 0) & (other == 0)).mean())
        reversal = first_twice + second_twice
    longer, decided = _longer_wins(battles, repeats)
    return BattleBias(
        games=round(total),
        first_wins=float(share[2]),
        second_wins=float(share[0]),
        ties=float(share[1]),
        swapped=len(forth),
        survives=survives,
        flip_rate=None if survives is None else 1 - survives,
        reversal_rate=reversal,
        first_twice=first_twice,
        second_twice=second_twice,
        longer_wins=longer,
        decided_by_length=decided,
        score_gap=_score_gap(battles, repeats),
    )


def _both_orders(battles: Battles) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of the verdicts in one order, and beside them the rows of those in the other order."""
    if battles.prompt is None:
        return np.empty(0, dtype=np.intp), np.empty(0, dtype=np.intp)
    if battles.count is not None:
        raise ArenaError(
            "rows with a count cannot be matched with their swapped order", hint="give one row for each game"
        )
    size = len(battles.models)
    low, high = np.minimum(battles.a, battles.b), np.maximum(battles.a, battles.b)
    key = (battles.prompt.astype(np.int64) * size + low) * size + high
    sides = []
    for rows in (np.flatnonzero(battles.a == low), np.flatnonzero(battles.a == high)):
        order = rows[np.argsort(key[rows], kind="stable")]
        sorted_key = key[order]
        nth = np.arange(len(order)) - np.searchsorted(sorted_key, sorted_key)
        sides.append((order, sorted_key * np.int64(len(battles)) + nth))
    (forth, forth_key), (back, back_key) = sides
    _, in_forth, in_back = np.intersect1d(forth_key, back_key, assume_unique=True, return_indices=True)
    return forth[in_forth], back[in_back]


def _longer_wins(battles: Battles, repeats: Floats) -> tuple[float | None, int]:
    if "length" not in battles.sides:
        return None, 0
    length = battles.sides["length"]
    decided = (battles.points != 1) & (length.a != length.b)
    number = float(repeats[decided].sum())
    if not number:
        return None, 0
    won = (battles.points == 2) == (length.a > length.b)
    return float(repeats[decided & won].sum() / number), round(number)


def _score_gap(battles: Battles, repeats: Floats) -> float | None:
    if "score" not in battles.sides:
        return None
    score = battles.sides["score"]
    return float(((score.a - score.b) * repeats).sum() / repeats.sum())
