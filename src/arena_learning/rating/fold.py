"""Battles folded into a table of pairs, once; fits and resamples work on that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from arena_learning.rating.arrays import Bools, Codes, Floats
    from arena_learning.rating.battles import Battles

Ties = Literal["half", "drop", "davidson"]
# Up to this many possible cells a plain count beats sorting.
_DENSE_CELLS = 4_000_000
# What rounding may leave of a sum of weights that is 0.
_NOTHING = 1e-9


@dataclass(frozen=True)
class Pairs:
    """Which contestants met: the shape that all fits and resamples of one data set share.

    Attributes:
        models: number of contestants.
        lo: the pair's contestant with the lower code, ``(pairs,)``, sorted by ``(lo, hi)``.
        hi: the other one, ``(pairs,)``.
    """

    models: int
    lo: NDArray[np.intp]
    hi: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.lo)

    def scatter(self, lo_values: Floats, hi_values: Floats) -> Floats:
        """Sum the pairs' values over contestants.

        Args:
            lo_values: what each pair gives to its lower contestant, ``(pairs, problems)``.
            hi_values: what it gives to the other, ``(pairs, problems)``.

        Returns:
            The sums, ``(models, problems)``.
        """
        out = np.zeros((self.models, lo_values.shape[1]))
        if not len(self):
            return out
        heads = np.flatnonzero(np.r_[True, self.lo[1:] != self.lo[:-1]])
        out[self.lo[heads]] = np.add.reduceat(lo_values, heads, axis=0)
        order = np.argsort(self.hi, kind="stable")
        hi = self.hi[order]
        heads = np.flatnonzero(np.r_[True, hi[1:] != hi[:-1]])
        out[hi[heads]] += np.add.reduceat(hi_values[order], heads, axis=0)
        return out


@dataclass(frozen=True)
class Folded:
    """Battles summed over equal pairs and outcomes.

    A cell is ``3 * pair + half-points of the pair's lower contestant``.

    Attributes:
        pairs: who met whom.
        cells: weight of the battles in each cell, ``(3 * pairs,)``.
        row_cell: the cell of each row of the battles, ``(rows,)``.
    """

    pairs: Pairs
    cells: Floats
    row_cell: Codes


def fold(battles: Battles) -> Folded:
    """Fold battles into pairs and outcomes."""
    size = len(battles.models)
    swapped = battles.a > battles.b
    points = np.where(swapped, np.int8(2) - battles.points, battles.points)
    kind = np.int32 if 3 * size * size < 2**31 else np.int64
    low, high = np.minimum(battles.a, battles.b), np.maximum(battles.a, battles.b)
    key = low.astype(kind)
    np.multiply(key, 3 * size, out=key)
    np.add(key, 3 * high + points, out=key)
    if 3 * size * size <= _DENSE_CELLS:
        held = (np.bincount(key, minlength=3 * size * size).reshape(-1, 3) > 0).any(axis=1)
        pair_ids = np.flatnonzero(held)
        place = (np.cumsum(held, dtype=np.int32) - 1).astype(np.int32)
        lut = (3 * place[:, None] + np.arange(3, dtype=np.int32)).ravel()
        row_cell: Codes = lut[key]
    else:
        pair_ids, inverse = np.unique(key // 3, return_inverse=True)
        row_cell = (3 * inverse + key % 3).astype(np.int32)
    cells = np.bincount(row_cell, weights=battles.mass, minlength=3 * len(pair_ids)).astype(np.float64)
    pairs = Pairs(size, (pair_ids // size).astype(np.intp), (pair_ids % size).astype(np.intp))
    return Folded(pairs, cells, row_cell)


@dataclass(frozen=True)
class Games:
    """What a fit needs of one or many resamples of the same pairs (a column each).

    Attributes:
        games: weight of the battles of each pair, ``(pairs, problems)``.
        points: points of the pair's lower contestant, a tie half a point, ``(pairs, problems)``.
        tied: weight of each pair's ties, ``(pairs, problems)``; None unless ties are modelled (Davidson).
    """

    games: Floats
    points: Floats
    tied: Floats | None = None

    def take(self, columns: NDArray[np.intp]) -> Games:
        """Return the problems of some columns."""
        tied = None if self.tied is None else self.tied[:, columns]
        return Games(self.games[:, columns], self.points[:, columns], tied)

    def plus_even(self, extra: Floats) -> Games:
        """Return the games with even battles added to each pair, ``(pairs, problems or 1)``.

        An even battle is half won and half lost; where ties are modelled, a third won, lost and tied.
        """
        tied = None if self.tied is None else self.tied + extra / 3
        return Games(self.games + extra, self.points + extra / 2, tied)

    def beaten(self) -> tuple[Bools, Bools]:
        """Say where the lower contestant beat the other, and the reverse, ``(pairs, problems)``.

        A tie beats both ways, unless ties are modelled: then it says nothing of who is stronger.
        """
        lost = self.games - self.points
        if self.tied is None:
            return self.points > 0, lost > 0
        return self.points - self.tied / 2 > _NOTHING, lost - self.tied / 2 > _NOTHING


def games_of(cells: Floats, ties: Ties) -> Games:
    """Turn cell totals into what a fit needs.

    Args:
        cells: ``(3 * pairs, problems)``.
        ties: ``half`` counts a tie as half a win for both, ``drop`` leaves ties out, ``davidson`` also keeps
            their number, for the tie parameter.
    """
    cube = cells.reshape(-1, 3, cells.shape[1])
    lost, tied, won = cube[:, 0], cube[:, 1], cube[:, 2]
    if ties == "drop":
        return Games(won + lost, won.astype(np.float64))
    games = Games(won + lost + tied, won + tied / 2, tied.astype(np.float64) if ties == "davidson" else None)
    return games if games.tied is None else _with_a_tie(games)


def _with_a_tie(games: Games) -> Games:
    """Give problems without any tie half a tied battle, shared like the battles, or its odds would be 0."""
    assert games.tied is not None
    without = ~games.tied.any(axis=0)
    if not without.any():
        return games
    extra = without * (0.5 * games.games / games.games.sum(axis=0))
    return Games(games.games + extra, games.points + extra / 2, games.tied + extra)
