"""Bootstrap resamples of battles or of whole prompts, without touching the rows again.

A resample of battles is one multinomial draw over the cells. A resample of prompts weights each prompt by the number of
times that it was drawn; with rows sorted by cell, this becomes sums of runs, for many resamples at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from arena_learning.rating.arrays import Codes, Floats
    from arena_learning.rating.battles import Battles
    from arena_learning.rating.fold import Folded

    Times = NDArray[np.uint8 | np.uint32 | np.float64]

# Number of resamples drawn together. It is no parameter, because the draws depend on it.
BLOCK = 64
_ROWS_AT_ONCE = 1 << 15


class Resampler(Protocol):
    """Draws resamples of one data set."""

    clusters: int

    def draw(self, generator: np.random.Generator, number: int) -> Floats:
        """Return the cells of ``number`` resamples, ``(3 * pairs, number)``."""


class BattleResampler:
    """Draws as many battles as there are, with replacement.

    Equal battles (same cell, same weight) are drawn together, by a multinomial.

    Attributes:
        clusters: number of battles.
    """

    def __init__(self, battles: Battles, folded: Folded) -> None:
        self._cells = len(folded.cells)
        if battles.weight is None:
            counts, self._weight = folded.cells, None
            self._cell: NDArray[np.int64] = np.arange(self._cells)
        else:
            kinds, kind = np.unique(battles.weight, return_inverse=True)
            key, inverse = np.unique(folded.row_cell * np.int64(len(kinds)) + kind, return_inverse=True)
            counts = np.bincount(inverse, weights=battles.repeats, minlength=len(key)).astype(np.float64)
            self._cell, self._weight = key // len(kinds), kinds[key % len(kinds)]
        self.clusters = round(float(counts.sum()))
        self._share = counts / counts.sum()

    def draw(self, generator: np.random.Generator, number: int) -> Floats:
        """Return the cells of ``number`` resamples, ``(3 * pairs, number)``."""
        times = generator.multinomial(self.clusters, self._share, size=number).T.astype(np.float64)
        if self._weight is None:
            return np.ascontiguousarray(times)
        return _sum_runs(times * self._weight[:, None], self._cell, self._cells)


class PromptResampler:
    """Draws as many prompts as there are, with replacement, each with all its battles.

    Attributes:
        clusters: number of prompts.
    """

    def __init__(self, battles: Battles, folded: Folded) -> None:
        assert battles.prompt is not None
        self.clusters = battles.prompts
        self._cells = len(folded.cells)
        mass = battles.mass
        order = _order_by(folded.row_cell, self._cells)
        self._prompt: Codes = battles.prompt[order]
        self._mass = None if mass is None else mass[order]
        ends = np.cumsum(np.bincount(folded.row_cell, minlength=self._cells))
        self._starts = np.concatenate([[0], ends])
        self._largest = int(np.diff(self._starts).max())

    def draw(self, generator: np.random.Generator, number: int) -> Floats:
        """Return the cells of ``number`` resamples, ``(3 * pairs, number)``."""
        return self.cells_of(self.times(generator, number))

    def times(self, generator: np.random.Generator, number: int) -> Times:
        """Return how often each prompt is drawn in ``number`` resamples, ``(prompts, number)``."""
        kind = np.uint8 if self._mass is None else np.float64
        times: Times = np.empty((self.clusters, number), dtype=kind)
        for column in range(number):
            drawn = generator.integers(0, self.clusters, self.clusters, dtype=np.int32)
            counts = np.bincount(drawn, minlength=self.clusters)
            if times.dtype == np.uint8 and counts.max() > 255:  # only possible for very few prompts
                times = times.astype(np.uint32)
            times[:, column] = counts
        return times

    def cells_of(self, times: Times) -> Floats:
        """Sum each cell's rows, each times the draws of its prompt, a slice of cells at a time."""
        out = np.zeros((self._cells, times.shape[1]))
        exact: type[np.generic] = np.float64
        if self._mass is None:
            small = self._largest * int(times.max(initial=1)) < 2**16
            exact = np.uint16 if small else np.uint32
        starts, filled = self._starts, np.flatnonzero(np.diff(self._starts))
        first = 0
        while first < len(filled):
            begin = starts[filled[first]]
            last = int(np.searchsorted(starts[filled], begin + _ROWS_AT_ONCE))
            last = max(last, first + 1)
            cells = filled[first:last]
            rows = slice(begin, starts[cells[-1] + 1])
            drawn = times[self._prompt[rows]]
            if self._mass is not None:
                drawn = np.multiply(drawn, self._mass[rows, None])
            out[cells] = np.add.reduceat(drawn, starts[cells] - begin, axis=0, dtype=exact)
            first = last
        return out


def _order_by(cell: Codes, cells: int) -> NDArray[np.intp]:
    """Return the stable order of the rows by cell (numpy sorts 16-bit keys by radix, many times faster)."""
    return np.argsort(cell.astype(np.uint16) if cells <= 2**16 else cell, kind="stable")


def _sum_runs(values: Floats, cell: NDArray[np.int64], cells: int) -> Floats:
    """Sum rows of equal cell; ``cell`` is sorted."""
    out = np.zeros((cells, values.shape[1]))
    heads = np.flatnonzero(np.r_[True, cell[1:] != cell[:-1]])
    out[cell[heads]] = np.add.reduceat(values, heads, axis=0)
    return out
