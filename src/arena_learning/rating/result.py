"""What `rate` takes and returns."""

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
    """How to rate.

    Attributes:
        anchor: a contestant and the rating it keeps; without one the mean rating is 1000. Groups that never
            met the anchor's have a mean of 1000 each.
        scale: Elo points of a tenfold change of the odds; 400 by convention.
        ties: ``half`` counts a tie as half a win for both, ``drop`` leaves ties out, ``davidson`` models
            them.
        bootstrap: number of resamples; 0 chooses the sandwich interval.
        cluster: what is drawn independently: ``prompt``, ``battle``, or ``auto``, prompts where they are
            known.
        interval: ``bootstrap`` for percentiles of resamples, ``sandwich`` for the estimator without them.
        level: nominal coverage of intervals, between 0 and 1.
        seed: seed of the resamples; equal seeds give equal intervals.
        small_sample: widen intervals for few clusters (`arena_learning.rating.intervals.tail`).
        stop: ``fixed`` if no verdict had a say in which battles were played, ``adaptive`` if the adaptive
            schedule chose them: intervals then allow for its stop
            (`arena_learning.rating.stopping.level_at_stop`), at level 0.95 only.
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
            raise ArenaError(f"scale is {self.scale!r}, not a positive number", hint="400 is the custom")
        if not 0 < self.level < 1:
            raise ArenaError(f"level is {self.level!r}, not between 0 and 1", hint="0.95 is the custom")
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
                f"level is {self.level!r}, and what the adaptive schedule's stop costs is known for "
                f"{LEVEL_AT_STOP} only",
                hint=f"use level {LEVEL_AT_STOP}",
            )

    def level_for(self, contestants: int) -> float:
        """Return the level at which intervals are computed so that they cover at `level`.

        Args:
            contestants: how many are rated, 1 or more.
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
        battles: battles it took part in (counts, not weights).
        wins: of these won.
        ties: tied.
        losses: lost.
        rank_lower: best rank that the differences to the others allow, 1 the highest, within its group.
        rank_upper: worst rank.
        group: number of the group of contestants that met, 0 the anchor's or else the largest; ratings
            compare only within a group.
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
    """Something about the battles that a reader of the ratings must know.

    Attributes:
        kind: ``undefeated``, ``winless``, ``one_sided``, ``unconnected``, ``adaptive`` or
            ``few_clusters``.
        message: a sentence that names whom it concerns.
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
        from_model: the one subtracted.
        to_model: the one it is subtracted from.
        difference: ``to_model``'s rating less ``from_model``'s, Elo points.
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
        """Whether the interval leaves out 0 (one that only touches it does not)."""
        return self.lower > 0 or self.upper < 0


@dataclass(frozen=True)
class RatingResult:
    """Ratings with their intervals.

    Attributes:
        ratings: highest first; groups that never met one after the other.
        diagnosis: what to know before trusting them; empty if all is well.
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
        """Whether two contestants met, at least through others."""
        return bool(self.groups[self._index(a)] == self.groups[self._index(b)])

    def difference(self, a: str, b: str) -> Difference:
        """Return the rating of ``b`` less that of ``a``, with the interval of the difference itself.

        Raises:
            ArenaError: one is unknown, or they never met, not even through others.
        """
        i, j = self._index(a), self._index(b)
        if self.groups[i] != self.groups[j]:
            raise ArenaError(
                f"{a!r} and {b!r} never met, not even through others: their ratings do not compare",
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
        """Return how often the row's contestant wins against the column's, a tie as half a win, 0 to 1.

        Args:
            expected: as the ratings say, in place of what was observed.

        Returns:
            A table by rating, highest first; NaN where two never met (and, for ``expected``, cannot be
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
        """Return the ratings as a table, a row a contestant."""
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
