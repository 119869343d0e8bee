"""Agreement of an arena's ratings with a reference arena's, as the Arena Learning paper measures it.

Two contestants are separated when their intervals do not overlap; intervals that only touch do not. Over the
contestants that both arenas rate (arXiv 2407.10627, section 4.2):

- Spearman's correlation of the two ratings, average ranks for ties;
- human agreement: over the pairs that the reference separates, +1 if the bench separates them the same way,
  -1 if the other way, 0 if it does not separate them; the mean;
- differentiation: the share of all pairs that the bench separates.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from arena_learning.core import ArenaError, suggest
from arena_learning.rating.intervals import Bounds

if TYPE_CHECKING:
    import pandas as pd

    from arena_learning.rating.arrays import Floats

COLUMNS = ("model", "rating", "lower", "upper")


class Conflict(NamedTuple):
    """A pair that both arenas separate, in opposite ways.

    Attributes:
        bench_winner: who the bench says is better.
        reference_winner: who the reference says is better.
    """

    bench_winner: str
    reference_winner: str


@dataclass(frozen=True)
class Consistency:
    """How well a bench agrees with a reference arena.

    Attributes:
        spearman: rank correlation of the ratings, -1 to 1; None if all ratings of one side are equal.
        kendall: Kendall's tau-b, -1 to 1; None likewise.
        human_agreement: -1 to 1; None if the reference separates no pair.
        differentiation: 0 to 1.
        mean: mean of Spearman, human agreement and differentiation; None if one of them is None.
        models: number of contestants rated by both.
        pairs: number of pairs of these.
        separated: number of pairs that the reference separates.
        conflicts: pairs separated in opposite ways.
    """

    spearman: float | None
    kendall: float | None
    human_agreement: float | None
    differentiation: float
    mean: float | None
    models: int
    pairs: int
    separated: int
    conflicts: list[Conflict]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self) | {"conflicts": [conflict._asdict() for conflict in self.conflicts]}


def consistency(bench: pd.DataFrame | str | Path, reference: pd.DataFrame | str | Path) -> Consistency:
    """Compare a bench's ratings with a reference arena's.

    Args:
        bench: columns ``model``, ``rating``, ``lower``, ``upper`` (95 % intervals), or a CSV file with them.
        reference: the same for the reference.

    Raises:
        ArenaError: a column is missing, a name comes twice, an interval's ends are swapped or a value is not a
            number (with the row), or fewer than two contestants are rated by both.

    Example:
        >>> import pandas as pd
        >>> ratings = {"model": ["x", "y"], "rating": [1100, 900], "lower": [1050, 850], "upper": [1150, 950]}
        >>> consistency(pd.DataFrame(ratings), pd.DataFrame(ratings)).human_agreement
        1.0
    """
    first, second = _board(bench, "bench"), _board(reference, "reference")
    names = sorted(first.keys() & second.keys())
    if len(names) < 2:
        raise ArenaError(
            f"only {len(names)} contestants are rated by both; at least 2 are needed",
            hint="use the same names in both",
        )
    ours, theirs = (np.array([board[name] for name in names]) for board in (first, second))
    low, high = np.triu_indices(len(names), 1)
    ours_say = _separation(Bounds(ours[:, 1], ours[:, 2]))[low, high]
    theirs_say = _separation(Bounds(theirs[:, 1], theirs[:, 2]))[low, high]
    held = theirs_say != 0
    agreement = float((ours_say * theirs_say)[held].mean()) if held.any() else None
    differentiation = float((ours_say != 0).mean())
    rho = spearman(ours[:, 0], theirs[:, 0])
    conflicts = []
    for k in np.flatnonzero(ours_say * theirs_say < 0):
        better, worse = (low[k], high[k]) if ours_say[k] > 0 else (high[k], low[k])
        conflicts.append(Conflict(names[better], names[worse]))
    return Consistency(
        spearman=rho,
        kendall=kendall(ours[:, 0], theirs[:, 0]),
        human_agreement=agreement,
        differentiation=differentiation,
        mean=None if rho is None or agreement is None else (rho + agreement + differentiation) / 3,
        models=len(names),
        pairs=len(low),
        separated=int(held.sum()),
        conflicts=conflicts,
    )


def spearman(first: Floats, second: Floats) -> float | None:
    """Return Spearman's rank correlation (average ranks for ties), or None if one side is constant."""
    from scipy.stats import spearmanr

    return float(spearmanr(first, second).statistic) if _vary(first, second) else None


def kendall(first: Floats, second: Floats) -> float | None:
    """Return Kendall's tau-b, or None if one side is constant."""
    from scipy.stats import kendalltau

    return float(kendalltau(first, second).statistic) if _vary(first, second) else None


def _vary(first: Floats, second: Floats) -> bool:
    return bool(np.ptp(first) > 0 and np.ptp(second) > 0)


def _separation(bounds: Bounds) -> Floats:
    """Return +1 where the row is above the column, -1 where it is below, 0 where the intervals overlap."""
    above = (bounds.lower[:, None] >= bounds.upper[None, :]).astype(np.float64)
    return np.asarray(above - above.T)


def _board(table: pd.DataFrame | str | Path, name: str) -> dict[str, tuple[float, float, float]]:
    if isinstance(table, str | Path):
        name = str(table)
        table = _read(Path(table))
    columns = [str(column) for column in table.columns]
    for column in COLUMNS:
        if column not in columns:
            raise ArenaError(f"no column {column!r}", where=name, hint=suggest(column, columns))
    board: dict[str, tuple[float, float, float]] = {}
    values = table[list(COLUMNS)].itertuples(index=False)
    for number, (model, rating, lower, upper) in enumerate(values, start=1):
        where = f"{name}: row {number}"
        try:
            row = (float(rating), float(lower), float(upper))
        except (TypeError, ValueError):
            row = (float("nan"),) * 3
        if not np.isfinite(row).all():
            raise ArenaError(f"{model}: rating, lower and upper must be numbers", where=where)
        if row[1] > row[2]:
            raise ArenaError(f"{model}: lower {row[1]:g} is above upper {row[2]:g}", where=where)
        if str(model) in board:
            raise ArenaError(f"{model!r} comes twice", where=where)
        board[str(model)] = row
    if not board:
        raise ArenaError("the table has no rows", where=name, hint="give one row for each contestant")
    return board


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_csv(path, keep_default_na=False)
    except FileNotFoundError:
        raise ArenaError("no such file", where=str(path)) from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise ArenaError(f"not a readable CSV file: {error}", where=str(path)) from error
