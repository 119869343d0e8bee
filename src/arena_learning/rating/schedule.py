"""Which battles to play next: all, those with an anchor, or those that tell most about the ranking.

The adaptive schedule looks at the neighbours in the ranking (`arena_learning.rating.stopping`). Each that is
not yet settled asks for a standard error at which it would be; the next battles go, a few at a time, to the
pair whose battle lowers the errors that are furthest from what is asked, by the Fisher information of the fit
so far. Battles between others count as well, as far as they tell about those two: it is a greedy optimal
design for the differences.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from arena_learning.errors import ArenaError
from arena_learning.rating.battles import Battles, battles_from_frame
from arena_learning.rating.bradley_terry import fit_battles, rate
from arena_learning.rating.result import RatingParams
from arena_learning.rating.stopping import Adjacent, Boundary, adjacent_pairs, settled

if TYPE_CHECKING:
    import pandas as pd

    from arena_learning.rating.arrays import Bools, Floats, Ints

# Battles are handed out in at least this many portions, each to the pair that tells most by then.
_PORTIONS = 40
# How strongly differences far from what is asked come before those nearer.
_SHARPNESS = 4
# A batch is cut short when it is expected to settle what was asked, but not below this share of it.
_LEAST_SHARE = 0.1
# How many standard errors above its estimate a gap is hoped to be.
HOPE = 1.0
# Differences at least this share of the widest hoped one are asked for together.
WIDEST = 0.8
# How many places apart two contestants may be to count as possible neighbours.
NEAR = 3


class Planned(NamedTuple):
    """A battle to play: both contestants answer the instruction, both orders are judged."""

    model_a: str
    model_b: str
    instruction: str


@dataclass(frozen=True)
class ScheduleParams:
    """How to choose battles.

    Attributes:
        gap: neighbours in the ranking at least so many Elo points apart must be separated.
        level: coverage of their intervals at all looks together.
        budget: most battles in all, or None.
        start: battles of each contestant before the first look.
        growth: the next batch is at most this share of the battles so far (looking less often costs little,
            since the interval allows for any number of looks).
        least: the next batch is at least so many.
        scale: Elo points of a tenfold change of the odds.
        seed: seed of what is left to chance: the first battles and the order of instructions.
    """

    gap: float = 20.0
    level: float = 0.95
    budget: int | None = None
    start: int = 20
    growth: float = 0.05
    least: int = 20
    scale: float = 400.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.gap <= 0 or not 0 < self.level < 1 or self.start < 1 or self.growth <= 0 or self.least < 1:
            raise ArenaError(f"gap, start, growth and least must be positive, level between 0 and 1: {self}")


@dataclass(frozen=True)
class Plan:
    """What to play next.

    Attributes:
        battles: the battles, those of one pair together.
        done: whether to stop.
        reason: why, or what is still open, in a sentence.
        neighbours: the ranking's neighbours as they stand (empty before the first look); indices into
            ``models``.
        models: names, sorted.
    """

    battles: list[Planned]
    done: bool
    reason: str
    neighbours: list[Adjacent]
    models: tuple[str, ...]


def all_battles(
    models: Collection[str], instructions: Sequence[str], played: Iterable[Planned] = ()
) -> list[Planned]:
    """Return every pair on every instruction, but for what was played (in whichever order)."""
    done = {_unordered(battle) for battle in played}
    pairs = combinations(sorted(models), 2)
    planned = (Planned(a, b, instruction) for a, b in pairs for instruction in instructions)
    return [battle for battle in planned if battle not in done]


def anchored_battles(
    models: Collection[str], anchor: str, instructions: Sequence[str], played: Iterable[Planned] = ()
) -> list[Planned]:
    """Return everybody against the anchor on every instruction, but for what was played."""
    return [battle for battle in all_battles(models, instructions, played) if anchor in battle[:2]]


def _unordered(battle: Planned) -> Planned:
    low, high = sorted(battle[:2])
    return Planned(low, high, battle[2])


def plan_adaptive(
    table: pd.DataFrame | Battles | None,
    models: Collection[str],
    instructions: Sequence[str],
    params: ScheduleParams | None = None,
    *,
    played: Iterable[Planned] = (),
    newcomers: Collection[str] = (),
) -> Plan:
    """Choose the next battles from the results so far.

    Args:
        table: the battles so far, as `rate` takes them, or None for none; with ``prompt_id``, intervals are
            clustered by it.
        models: all contestants.
        instructions: what can be asked; each pair plays each once.
        params: how to choose; the defaults if None.
        played: what was played, also without a verdict: it is not played again.
        newcomers: if given, only their battles are played, and only their neighbours must be settled.

    Returns:
        The next batch; empty when done: settled, at the budget, or with nothing left to play.

    Raises:
        ArenaError: fewer than two contestants, no instructions, or `rate` cannot take the table.
    """
    params = params or ScheduleParams()
    names = tuple(sorted(models))
    if len(names) < 2 or not instructions:
        raise ArenaError(
            f"{len(names)} contestants and {len(instructions)} instructions leave nothing to play"
        )
    spent = Counter(_unordered(battle)[:2] for battle in played)
    past = {_unordered(battle) for battle in played}
    room = _room(names, len(instructions), spent, newcomers)
    total = sum(spent.values())
    left = int(room.sum()) if params.budget is None else min(int(room.sum()), max(0, params.budget - total))
    if not left:
        why = "the budget is spent" if room.any() else "every battle was played"
        return Plan([], True, why, [], names)
    first = _first_counts(names, spent, room, params)
    neighbours: list[Adjacent] = []
    reason = "contestants have too few battles for a first look"
    if table is None or first.any():
        counts = first if first.any() else room.clip(max=1)
    else:
        standing = stand(table, names, params)
        neighbours = adjacent_pairs(standing.elo, standing.covariance, Boundary(params.gap, params.level))
        new = np.array([name in newcomers for name in names]) if newcomers else None
        asked = [pair for pair in neighbours if new is None or new[pair.upper] or new[pair.lower]]
        still = sum(pair.state == "open" for pair in asked)
        if settled(asked):
            return Plan([], True, "every pair of neighbours is separated or close", neighbours, names)
        reason = f"{still} of {len(asked)} pairs of neighbours are open"
        batch = min(left, max(params.least, math.ceil(params.growth * total)))
        counts = allocate(standing, room, batch, params, new)
    battles = _name(counts, names, instructions, past, params.seed)[:left]
    return Plan(battles, not battles, reason, neighbours, names)


class Standing(NamedTuple):
    """The ranking so far.

    Attributes:
        elo: ratings, ``(models,)``.
        covariance: their robust covariance, Elo points squared, ``(models, models)``.
        inverse: inverse of the fit's information, log units, ``(models, models)``: what more battles lower.
        information: Fisher information of one more battle of each two, ``(models, models)``.
    """

    elo: Floats
    covariance: Floats
    inverse: Floats
    information: Floats


def stand(table: pd.DataFrame | Battles, names: tuple[str, ...], params: ScheduleParams) -> Standing:
    """Rate the battles so far.

    Raises:
        ArenaError: not all of ``names`` fought, or they fell into groups that never met.
    """
    battles = table if isinstance(table, Battles) else battles_from_frame(table)
    if battles.models != names:
        missing = sorted(set(names) ^ set(battles.models))
        raise ArenaError(f"the battles' contestants are not those to rank: {', '.join(missing)}")
    chosen = RatingParams(scale=params.scale, interval="sandwich")
    result = rate(battles, chosen)
    if result.groups.any():
        raise ArenaError("some contestants never met, not even through others", mend="play the first battles")
    assert result.covariance is not None
    fit = fit_battles(battles, chosen)
    return Standing(result.elo, result.covariance, fit.inverse, battle_information(result.elo, params.scale))


def battle_information(elo: Floats, scale: float) -> Floats:
    """Return the Fisher information of one battle of each two, log units, ``(models, models)``."""
    share = 1 / (1 + 10.0 ** ((elo[None, :] - elo[:, None]) / scale))
    information = share * (1 - share)
    np.fill_diagonal(information, 0)
    return np.asarray(information)


def allocate(
    standing: Standing, room: Ints, batch: int, params: ScheduleParams, newcomers: Bools | None = None
) -> Ints:
    """Hand out battles to the pairs that tell most about the ranking.

    Asked for are the differences of contestants up to three places apart (who the true neighbours are is not
    known yet) that are not separated, of these the widest, as wide as each may be at one standard error above
    its estimate: they are done soonest, and what merely looks wide shrinks with its error and waits.

    Args:
        standing: the ranking so far.
        room: battles that each two can still play, ``(models, models)``, upper triangle.
        batch: how many to hand out at most.
        params: how to choose.
        newcomers: whether each contestant is new, ``(models,)``; then only their differences are asked for.

    Returns:
        Battles of each two, ``(models, models)``, upper triangle.
    """
    boundary, elo, covariance = Boundary(params.gap, params.level), standing.elo, standing.covariance
    order = np.argsort(-elo, kind="stable")
    places = range(1, min(NEAR, len(order) - 1) + 1)
    upper = np.concatenate([order[:-apart] for apart in places])
    lower = np.concatenate([order[apart:] for apart in places])
    if newcomers is not None:
        kept = newcomers[upper] | newcomers[lower]
        upper, lower = upper[kept], lower[kept]
    variance = covariance[upper, upper] + covariance[lower, lower] - 2 * covariance[upper, lower]
    error = np.sqrt(np.maximum(variance, 1e-12))
    gap = elo[upper] - elo[lower]
    hoped = gap + HOPE * error
    todo = gap <= np.array([boundary.reach(one) for one in error])
    if not todo.any():
        todo[:] = True
    todo &= hoped >= WIDEST * hoped[todo].max()
    upper, lower, error = upper[todo], lower[todo], error[todo]
    unit = params.scale / math.log(10)
    fitted = (
        standing.inverse[upper, upper] + standing.inverse[lower, lower] - 2 * standing.inverse[upper, lower]
    )
    # Battles of one prompt are alike, so that errors are larger than the fit says: by as much as hitherto.
    inflation = error**2 / np.maximum(fitted * unit**2, 1e-12)
    wanted = np.array([(boundary.error_for(hope) / unit) ** 2 for hope in hoped[todo]]) / inflation
    return spread(standing.inverse, standing.information, (upper, lower), wanted, room, batch)


def spread(
    inverse: Floats,
    information: Floats,
    asked: tuple[np.ndarray, np.ndarray],
    wanted: Floats,
    room: Ints,
    batch: int,
) -> Ints:
    """Hand out battles, portion by portion, where they lower most the variances that are furthest from those
    wanted.

    Args:
        inverse: covariance of log-strengths so far, ``(models, models)``.
        information: Fisher information of one battle of each two, ``(models, models)``.
        asked: indices of both contestants of each difference, ``(differences,)`` each.
        wanted: variance to reach for each, ``(differences,)``.
        room: battles that each two can still play, upper triangle.
        batch: most battles to hand out; fewer if they are expected to do.
    """
    upper, lower = asked
    covariance, room = inverse.copy(), np.triu(room, 1).copy()
    counts = np.zeros_like(room)
    portion, handed = math.ceil(batch / max(_PORTIONS, 2 * len(upper))), 0
    least = math.ceil(_LEAST_SHARE * batch)
    while handed < batch and room.any():
        reach = covariance[:, upper] - covariance[:, lower]
        variance = reach[upper, np.arange(len(upper))] - reach[lower, np.arange(len(upper))]
        if handed >= least and (variance <= wanted).all():
            break  # enough for another look; more would only be guessed
        urgency = (variance / wanted) ** _SHARPNESS
        pull = reach * np.sqrt(urgency / variance)
        # One battle of i and j lowers log variance of k by information_ij * (reach_ik - reach_jk)^2 /
        # variance_k.
        square = (pull**2).sum(axis=1)
        gain = information * (square[:, None] + square[None, :] - 2 * pull @ pull.T)
        i, j = divmod(int(np.argmax(np.where(room > 0, gain, -1.0))), len(room))
        number = min(portion, batch - handed, int(room[i, j]))
        counts[i, j] += number
        room[i, j] -= number
        handed += number
        column = covariance[:, i] - covariance[:, j]
        added = number * information[i, j]
        covariance -= np.outer(column, column) * (added / (1 + added * (column[i] - column[j])))
    return counts


def _room(
    names: tuple[str, ...], instructions: int, spent: Counter[tuple[str, str]], newcomers: Collection[str]
) -> Ints:
    size = len(names)
    room = np.triu(np.full((size, size), instructions, dtype=np.int64), 1)
    place = {name: i for i, name in enumerate(names)}
    for (a, b), number in spent.items():
        if a in place and b in place:
            room[place[a], place[b]] = max(0, instructions - number)
    if newcomers:
        new = np.array([name in newcomers for name in names])
        room *= new[:, None] | new[None, :]
    return room


def _first_counts(
    names: tuple[str, ...], spent: Counter[tuple[str, str]], room: Ints, params: ScheduleParams
) -> Ints:
    """Return the battles that bring everybody to the first look, in random rings: all are connected."""
    size = len(names)
    place = {name: i for i, name in enumerate(names)}
    fought = np.zeros(size, dtype=np.int64)
    for (a, b), number in spent.items():
        for name in (a, b):
            if name in place:
                fought[place[name]] += number
    counts = np.zeros_like(room)
    generator = np.random.default_rng(params.seed)
    for _ in range(20 * params.start):
        short = fought < params.start
        if not short.any():
            break
        ring = generator.permutation(size)
        for i, j in zip(ring.tolist(), np.roll(ring, 1).tolist(), strict=True):
            low, high = min(i, j), max(i, j)
            if (short[i] or short[j]) and counts[low, high] < room[low, high]:
                counts[low, high] += 1
                fought[[i, j]] += 1
    return counts


def _name(
    counts: Ints, names: tuple[str, ...], instructions: Sequence[str], past: set[Planned], seed: int
) -> list[Planned]:
    """Choose each pair's instructions: those asked least so far, ties by chance."""
    asked = Counter(battle.instruction for battle in past)
    generator = np.random.default_rng(seed)
    chance = dict(zip(instructions, generator.permutation(len(instructions)).tolist(), strict=True))
    battles = []
    for i, j in zip(*np.nonzero(counts), strict=True):
        pair = (names[i], names[j])
        free = [text for text in instructions if Planned(*pair, text) not in past]
        free.sort(key=lambda text: (asked[text], chance[text]))
        for text in free[: int(counts[i, j])]:
            asked[text] += 1
            battles.append(Planned(*pair, text))
    return battles
