"""Which battles to play next: all, those with an anchor, or the most informative ones about the ranking.

The adaptive schedule checks the neighbours in the ranking (`arena_learning.rating.stopping`). While some are not
settled, it plays the most informative battles (`arena_learning.rating.allocate`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from arena_learning.core import ArenaError
from arena_learning.rating.allocate import Standing, allocate, stand
from arena_learning.rating.battles import Battles, battles_from_frame
from arena_learning.rating.stopping import Adjacent, Boundary, adjacent_pairs, separated, settled

if TYPE_CHECKING:
    import pandas as pd

    from arena_learning.rating.arrays import Bools, Ints


class Planned(NamedTuple):
    """A battle to play: both contestants answer the instruction, and both orders are judged."""

    model_a: str
    model_b: str
    instruction: str


@dataclass(frozen=True)
class ScheduleParams:
    """Parameters of the adaptive schedule.

    Attributes:
        gap: neighbours in the ranking that are at least so many Elo points apart must be separated.
        level: coverage of their intervals, at all looks together.
        budget: the most battles in all, or None.
        start: battles of each contestant before the first look.
        growth: the largest next batch, as a share of the battles so far (fewer looks cost little, because the interval
            allows for any number of looks).
        least: the smallest next batch.
        scale: Elo points for tenfold odds.
        seed: seed of the first battles and of the order of instructions.
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
    """The battles to play next.

    Attributes:
        battles: the battles, those of one pair together.
        done: whether to stop.
        reason: why, or what is still open, in a sentence.
        neighbours: the current neighbours in the ranking (empty before the first look); indices into ``models``.
        models: names, sorted.
        separated: separated pairs, the better first; pass it to the next call.
    """

    battles: list[Planned]
    done: bool
    reason: str
    neighbours: list[Adjacent]
    models: tuple[str, ...]
    separated: frozenset[tuple[str, str]] = frozenset()


def all_battles(
    models: Collection[str], instructions: Sequence[str], played: Iterable[Planned] = ()
) -> list[Planned]:
    """Return every pair on every instruction, except battles that were played (in either order)."""
    done = {_unordered(battle) for battle in played}
    pairs = combinations(sorted(models), 2)
    planned = (Planned(a, b, instruction) for a, b in pairs for instruction in instructions)
    return [battle for battle in planned if battle not in done]


def anchored_battles(
    models: Collection[str], anchor: str, instructions: Sequence[str], played: Iterable[Planned] = ()
) -> list[Planned]:
    """Return everybody against the anchor on every instruction, except battles that were played."""
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
    separated_before: Collection[tuple[str, str]] = (),
) -> Plan:
    """Choose the next battles from the results so far.

    Args:
        table: the battles so far, as for `rate`, or None; with ``prompt_id``, intervals are clustered by it.
        models: all contestants.
        instructions: the instructions; each pair plays each once.
        params: how to choose; by default `ScheduleParams()`.
        played: all battles that were played, also those without a verdict: they are not played again.
        newcomers: if given, only their battles are played, and only their neighbours must be settled.
        separated_before: `Plan.separated` of the last look; because intervals hold at all looks together, separated
            pairs stay separated.

    Returns:
        The next batch; empty when done: settled, at the budget, or with nothing left to play. The same arguments give
        the same batch.

    Raises:
        ArenaError: fewer than two contestants, no instructions, or a table that `rate` does not accept.

    Example:
        >>> plan = plan_adaptive(None, ["x", "y"], ["q1", "q2"])
        >>> len(plan.battles), plan.done
        (2, False)
    """
    params = params or ScheduleParams()
    names = tuple(sorted(models))
    if len(names) < 2 or not instructions:
        raise ArenaError(
            f"there is nothing to play with {len(names)} contestants and {len(instructions)} instructions",
            hint="give at least 2 contestants and 1 instruction",
        )
    past = {_unordered(battle) for battle in played}
    new = np.array([name in newcomers for name in names]) if newcomers else None
    earlier = np.array([[(a, b) in separated_before for b in names] for a in names])
    choice = _choose(
        table, _Schedule(names, _room(names, len(instructions), past, new), past, new, earlier), params
    )
    battles = _name(choice.counts, names, instructions, past, params.seed)
    if params.budget is not None and len(battles) > (left := max(0, params.budget - len(past))):
        # Draw them at random: otherwise the first names would get all the rest of the budget.
        kept = np.random.default_rng(params.seed).permutation(len(battles))[:left]
        battles = [battles[i] for i in sorted(kept.tolist())]
    above = frozenset((names[i], names[j]) for i, j in zip(*np.nonzero(choice.above), strict=True))
    return Plan(battles, not battles, choice.reason, choice.neighbours, names, above)


class _Schedule(NamedTuple):
    """State of a schedule: names, battles that each pair can still play, played ones, newcomers, separated pairs."""

    names: tuple[str, ...]
    room: Ints
    past: set[Planned]
    new: Bools | None
    above: Bools


class _Choice(NamedTuple):
    """Number of battles of each pair, ``(models, models)``, and the findings of a look; see `Plan`."""

    counts: Ints
    reason: str
    above: Bools
    neighbours: list[Adjacent] = []  # noqa: RUF012 (never changed)


def _choose(table: pd.DataFrame | Battles | None, so: _Schedule, params: ScheduleParams) -> _Choice:
    """Choose the number of battles of each pair, within the rest of the budget."""
    nothing, total = np.zeros_like(so.room), len(so.past)
    if not so.room.any():
        return _Choice(nothing, "every battle was played", so.above)
    if params.budget is not None and total >= params.budget:
        return _Choice(nothing, "the budget is spent", so.above)
    first = _first_counts(so, params)
    if first.any():
        return _Choice(first, "contestants have too few battles for a first look", so.above)
    standing, apart = _standing(table, so.names, params)
    if standing is None:
        counts = np.where(apart, so.room.clip(max=1), 0)
        return _Choice(counts, "some contestants have no scored battle with the others", so.above)
    boundary = Boundary(params.gap, params.level)
    above = separated(standing.gap, standing.error, boundary, so.above)
    found = adjacent_pairs(standing.gap, standing.error, boundary, above)
    asked = [pair for pair in found if so.new is None or so.new[pair.upper] or so.new[pair.lower]]
    if settled(asked):
        return _Choice(nothing, "every pair of neighbours is separated or close", above, found)
    batch = max(params.least, math.ceil(params.growth * total))
    if params.budget is not None:
        batch = min(batch, params.budget - total)
    chance = np.random.default_rng([params.seed, total])
    counts = allocate(
        standing, above, so.room, batch, boundary, params.scale, generator=chance, newcomers=so.new
    )
    still = sum(pair.state == "open" for pair in asked)
    return _Choice(counts, f"{still} of {len(asked)} pairs of neighbours are open", above, found)


def _standing(
    table: pd.DataFrame | Battles | None, names: tuple[str, ...], params: ScheduleParams
) -> tuple[Standing | None, Bools]:
    """Rate the battles so far, or return the missing battles that a rating needs, ``(models, models)``.

    Raises:
        ArenaError: a battle has a contestant that is not in ``models``.
    """
    size = len(names)
    if table is None or not len(table):
        return None, np.ones((size, size), dtype=bool)
    battles = table if isinstance(table, Battles) else battles_from_frame(table)
    strangers = sorted(set(battles.models) - set(names))
    if strangers:
        raise ArenaError(
            f"the battles have contestants that are not to be ranked: {', '.join(strangers)}",
            hint="add them to models, or leave their battles out",
        )
    if battles.models != names:
        silent = np.array([name not in battles.models for name in names])
        return None, np.asarray(silent[:, None] | silent[None, :])
    standing = stand(battles, params.scale)
    apart = standing.groups[:, None] != standing.groups[None, :]
    return (None if apart.any() else standing), np.asarray(apart)


def _room(names: tuple[str, ...], instructions: int, past: set[Planned], new: Bools | None) -> Ints:
    """Count the battles that each pair can still play, ``(models, models)``, upper triangle."""
    size = len(names)
    room = np.triu(np.full((size, size), instructions, dtype=np.int64), 1)
    for (i, j), number in _spent(names, past).items():
        room[i, j] = max(0, instructions - number)
    if new is not None:
        room *= new[:, None] | new[None, :]
    return room


def _spent(names: tuple[str, ...], past: set[Planned]) -> Counter[tuple[int, int]]:
    """Count the battles that each pair of ``names`` has played, by their indices."""
    place = {name: i for i, name in enumerate(names)}
    return Counter(
        (place[one.model_a], place[one.model_b])
        for one in past
        if one.model_a in place and one.model_b in place
    )


def _first_counts(so: _Schedule, params: ScheduleParams) -> Ints:
    """Return the battles before the first look, in random rings, which connect all contestants."""
    size = len(so.names)
    fought = np.zeros(size, dtype=np.int64)
    for pair, number in _spent(so.names, so.past).items():
        fought[list(pair)] += number
    counts = np.zeros_like(so.room)
    generator = np.random.default_rng(params.seed)
    for _ in range(20 * params.start):
        short = fought < params.start
        if not short.any():
            break
        ring = generator.permutation(size)
        for i, j in zip(ring.tolist(), np.roll(ring, 1).tolist(), strict=True):
            low, high = min(i, j), max(i, j)
            if (short[i] or short[j]) and counts[low, high] < so.room[low, high]:
                counts[low, high] += 1
                fought[[i, j]] += 1
    return counts


def _name(
    counts: Ints, names: tuple[str, ...], instructions: Sequence[str], past: set[Planned], seed: int
) -> list[Planned]:
    """Choose each pair's instructions: those used least so far, ties at random."""
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
