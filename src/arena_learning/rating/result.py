"""The parameters and the result of `rate`."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from arena_learning.core import ArenaError, suggest
from arena_learning.rating.intervals import half_width, percentiles, tail
from arena_learning.rating.stopping import LEVEL_AT_STOP, level_at_stop

if TYPE_CHECKING:
    import pandas as pd

    from arena_learning.rating.arrays import Floats, Ints
    from arena_learning.rating.fold import Ties

CENTRE = 1000.0
Stop = Literal["fixed", "adaptive"]


@dataclass(frozen=True)
class RatingParams:
    """Parameters of `rate`.

    Attributes:
        anchor: a contestant and its fixed rating; by default the mean rating is 1000. Each group that never met the
            anchor's has a mean of 1000.
        scale: Elo points for tenfold odds; 400 by convention.
        ties: ``half`` counts a tie as half a win for both, ``drop`` leaves ties out, ``davidson`` models them.
        bootstrap: number of resamples; 0 selects the sandwich interval.
        cluster: unit of resampling: ``prompt``, ``battle``, or ``auto`` (prompts if they are known).
        interval: ``bootstrap`` for percentiles of resamples, ``sandwich`` for the estimator without them.
        level: nominal coverage of intervals, between 0 and 1.
        seed: seed of the resamples; equal seeds give equal intervals.
        small_sample: widen intervals for few clusters (`arena_learning.rating.intervals.tail`).
        stop: ``fixed`` if the battles were chosen beforehand, ``adaptive`` if the adaptive schedule chose them:
            intervals then account for its stop (`arena_learning.rating.stopping.level_at_stop`), at level 0.95 only.
    """

    anchor: tuple[str, float] | None = None
    scale: float = 400.0
    ties: Ties = "half"
    bootstrap: int = 1000
    cluster: Literal["prompt", "battle", "auto"] = "auto"
    interval: Literal["bootstrap", "sandwich"] = "bootstrap"
    level: float = 0.95
    seed: int = 0
    small_sample: bool = True
    stop: Stop = "fixed"

    def __post_init__(self) -> None:
        if not 0 < self.scale < math.inf:
            raise ArenaError(f"scale is {self.scale!r}, not a positive number", hint="the usual scale is 400")
        if not 0 < self.level < 1:
            raise ArenaError(f"level is {self.level!r}, not between 0 and 1", hint="the usual level is 0.95")
        if self.bootstrap < 0:
            raise ArenaError(f"bootstrap is {self.bootstrap!r}", hint="give 0 (sandwich interval) or more")
        choices = {
            "ties": ("half", "drop", "davidson"),
            "cluster": ("prompt", "battle", "auto"),
            "interval": ("bootstrap", "sandwich"),
            "stop": ("fixed", "adaptive"),
        }
        for name, known in choices.items():
            value = getattr(self, name)
            if value not in known:
                raise ArenaError(f"{name} is {value!r}", hint=suggest(str(value), known))
        if self.anchor is not None and not math.isfinite(self.anchor[1]):
            raise ArenaError(f"the anchor's rating is {self.anchor[1]!r}", hint="give a number")
        if self.stop == "adaptive" and self.level != LEVEL_AT_STOP:
            raise ArenaError(
                f"level is {self.level!r}, but with stop: adaptive only {LEVEL_AT_STOP} is supported",
                hint=f"use level {LEVEL_AT_STOP}",
            )

    def level_for(self, contestants: int) -> float:
        """Return the level at which to compute intervals so that they cover at `level`.

        Args:
            contestants: number of rated contestants, 1 or more.
        """
        return self.level if self.stop == "fixed" else level_at_stop(contestants)


@dataclass(frozen=True)
class Rating:
    """One contestant's rating.

    Attributes:
        model: its name.
        rating: Elo points.
        lower: lower end of the interval, Elo points.
        upper: upper end.
        battles: number of its battles (counts, not weights).
        wins: battles that it won.
        ties: battles that it tied.
        losses: battles that it lost.
        rank_lower: best rank that the differences to the others allow, 1 the highest, within its group.
        rank_upper: worst rank.
        group: number of its group of contestants connected by battles: 0 is the anchor's or else the largest; only
            ratings of one group can be compared.
    """

    model: str
    rating: float
    lower: float
    upper: float
    battles: int
    wins: int
    ties: int
    losses: int
    rank_lower: int
    rank_upper: int
    group: int


@dataclass(frozen=True)
class Finding:
    """A fact about the battles that limits the ratings.

    Attributes:
        kind: ``undefeated``, ``winless``, ``one_sided``, ``unconnected``, ``adaptive`` or ``few_clusters``.
        message: a sentence that names the contestants concerned.
        models: their names.
    """

    kind: str
    message: str
    models: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


@dataclass(frozen=True)
class Difference:
    """How much higher one contestant is rated than another.

    Attributes:
        from_model: the contestant whose rating is subtracted.
        to_model: the other one.
        difference: ``to_model``'s rating minus ``from_model``'s, Elo points.
        lower: lower end of the difference's own interval (both ratings from the same resamples).
        upper: upper end.
    """

    from_model: str
    to_model: str
    difference: float
    lower: float
    upper: float

    @property
    def separated(self) -> bool:
        """Whether the interval excludes 0 (one that only touches 0 does not)."""
        return self.lower > 0 or self.upper < 0


@dataclass(frozen=True)
class RatingResult:
    """Ratings with their intervals.

    Attributes:
        ratings: highest first; unconnected groups follow one another.
        diagnosis: what limits the ratings; empty if nothing does.
        params: how they were made.
        models: names in the order of the arrays below.
        elo: ratings, ``(models,)``.
        draws: resampled ratings, ``(bootstrap, models)``, anchored as the ratings are; None for the sandwich.
        covariance: the sandwich covariance of ratings, Elo points squared, ``(models, models)``; None for the
            bootstrap.
        groups: group of each contestant, ``(models,)``.
        clusters: number of independent prompts or battles.
        cluster: ``prompt`` or ``battle``.
        won: points of the row's contestant against the column's, a tie half a point, ``(models, models)``.
        played: battles between the two, ``(models, models)``, weighted.
        log_nu: log of Davidson's tie parameter, or None.
    """

    ratings: list[Rating]
    diagnosis: list[Finding]
    params: RatingParams
    models: tuple[str, ...]
    elo: Floats
    draws: Floats | None
    covariance: Floats | None
    groups: Ints
    clusters: int
    cluster: str
    won: Floats
    played: Floats
    log_nu: float | None = None

    def __getitem__(self, model: str) -> Rating:
        self._index(model)
        return next(rating for rating in self.ratings if rating.model == model)

    def _index(self, model: str) -> int:
        if model not in self.models:
            raise ArenaError(f"no contestant {model!r} among the battles", hint=suggest(model, self.models))
        return self.models.index(model)

    def comparable(self, a: str, b: str) -> bool:
        """Whether battles connect two contestants, directly or through others."""
        return bool(self.groups[self._index(a)] == self.groups[self._index(b)])

    def difference(self, a: str, b: str) -> Difference:
        """Return the rating of ``b`` minus that of ``a``, with the interval of the difference itself.

        Raises:
            ArenaError: one is unknown, or no chain of battles connects them.
        """
        i, j = self._index(a), self._index(b)
        if self.groups[i] != self.groups[j]:
            raise ArenaError(
                f"no chain of battles connects {a!r} and {b!r}: their ratings cannot be compared",
                hint="play battles between their groups",
            )
        gap = float(self.elo[j] - self.elo[i])
        params, level = self.params, self.params.level_for(len(self.models))
        if self.draws is not None:
            outside = tail(level, self.clusters, params.small_sample)
            lower, upper = percentiles(self.draws[:, j] - self.draws[:, i], outside)
            return Difference(a, b, gap, float(lower), float(upper))
        assert self.covariance is not None
        variance = self.covariance[i, i] + self.covariance[j, j] - 2 * self.covariance[i, j]
        reach = half_width(level, self.clusters, params.small_sample) * math.sqrt(max(variance, 0.0))
        return Difference(a, b, gap, gap - reach, gap + reach)

    def win_rates(self, *, expected: bool = False) -> pd.DataFrame:
        """Return the win rate of the row's contestant against the column's, a tie as half a win, 0 to 1.

        Args:
            expected: the rates that the ratings predict instead of the observed ones.

        Returns:
            A table sorted by rating, highest first; NaN for pairs that never met (or, if ``expected``, cannot be
            compared).
        """
        import pandas as pd

        names = [rating.model for rating in self.ratings]
        order = [self.models.index(name) for name in names]
        if expected:
            gap = (self.elo[:, None] - self.elo[None, :]) / self.params.scale
            rates = 1 / (1 + 10.0**-gap)
            if self.log_nu is not None:  # Davidson: a tie is half a point
                half = 10.0 ** (gap / 2)
                rates = (half + math.exp(self.log_nu) / 2) / (half + 1 / half + math.exp(self.log_nu))
            rates = np.where(self.groups[:, None] == self.groups[None, :], rates, np.nan)
            np.fill_diagonal(rates, np.nan)
        else:
            rates = np.divide(
                self.won, self.played, out=np.full(self.won.shape, np.nan), where=self.played > 0
            )
        return pd.DataFrame(rates[np.ix_(order, order)], index=names, columns=names)

    def to_frame(self) -> pd.DataFrame:
        """Return the ratings as a table, one row for each contestant."""
        import pandas as pd

        return pd.DataFrame([asdict(rating) for rating in self.ratings])

    def to_dict(self) -> dict[str, Any]:
        """Return ratings and diagnosis as plain values, ready for JSON."""
        return {
            "ratings": [asdict(rating) for rating in self.ratings],
            "diagnosis": [asdict(finding) | {"models": list(finding.models)} for finding in self.diagnosis],
            "clusters": self.clusters,
            "cluster": self.cluster,
            "params": asdict(self.params),
        }
