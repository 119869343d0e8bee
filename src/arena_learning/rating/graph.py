"""Which contestants can be compared: unconnected groups, one-sided pairs, and a small prior that keeps ratings finite.

The likelihood of a Bradley-Terry model has a finite maximum only if the graph of wins is strongly connected within each
group of contestants connected by battles (Ford 1957): everybody has beaten (or tied with) everybody else by some chain
of battles. Where it is not, its strong parts are linked by even battles (half won, half lost): one between each two
parts that met, shared over their pairs in proportion to the pairs' battles. A contestant that won all its n battles is
thus rated as if it had won n + 1/2 of n + 1. Connected data get no prior at all.

In Davidson's model ties do not say who is stronger, so they connect nobody; there an even battle is a third won, lost
and tied, and data without any tie get half a tied battle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from arena_learning.rating.arrays import Floats, Ints
    from arena_learning.rating.fold import Games, Pairs

    Places = np.typing.NDArray[np.intp]

# Even battles between two parts of the graph of wins that met and of which one won every time.
PRIOR_BATTLES = 1.0


def groups_that_met(pairs: Pairs) -> Ints:
    """Number the groups of contestants connected by battles, ``(models,)``, the group of code 0 first."""
    return _components(pairs.models, pairs.lo, pairs.hi, "weak")


def strong_parts(models: int, winners: Places, losers: Places) -> Ints:
    """Number the strongly connected parts of the graph of wins.

    Args:
        models: number of contestants.
        winners: codes of those that won or tied, ``(edges,)``.
        losers: codes of those against whom, ``(edges,)``.

    Returns:
        The part of each contestant, ``(models,)``, that of code 0 first.
    """
    return _components(models, winners, losers, "strong")


def _components(models: int, start: Places, end: Places, connection: Literal["weak", "strong"]) -> Ints:
    """Number the components of a directed graph in the order of their first members."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    edges = csr_array((np.ones(len(start), dtype=bool), (start, end)), shape=(models, models))
    label = connected_components(edges, connection=connection)[1]
    _, first, place = np.unique(label, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[place], dtype=np.int64)


def bridges(pairs: Pairs, games: Games, met: Floats) -> tuple[Floats, Ints]:
    """Return the even battles that make one problem's maximum finite.

    Args:
        pairs: who met whom.
        games: the problem, one column.
        met: each pair's battles in the whole data (a resample may have lost some), by which a battle is shared out.

    Returns:
        Even battles to add to each pair ``(pairs, 1)``, all 0 if none are needed; and each contestant's strong part.
    """
    lo_beat, hi_beat = (side[:, 0] for side in games.beaten())
    winners = np.concatenate([pairs.lo[lo_beat], pairs.hi[hi_beat]])
    losers = np.concatenate([pairs.hi[lo_beat], pairs.lo[hi_beat]])
    part = strong_parts(pairs.models, winners, losers)
    first, second = part[pairs.lo], part[pairs.hi]
    between = (first != second) & (met > 0)
    extra = np.zeros((len(pairs), 1))
    if between.any():
        low, high = np.minimum(first, second)[between], np.maximum(first, second)[between]
        _, link = np.unique(low * (part.max() + 1) + high, return_inverse=True)
        share = met[between] / np.bincount(link, weights=met[between])[link]
        extra[between, 0] = PRIOR_BATTLES * share
    return extra, part


class ConnectingBattles:
    """Finds, among many resamples of one data set, the few whose maximum is not finite.

    It keeps the widest trees of the graph of wins, from one contestant of each group to all others and back. A resample
    that keeps all their edges is strongly connected, which is cheap to check; only the others are searched. The data
    must be strongly connected within each group (after `bridges`).
    Args:
        pairs: who met whom.
        games: the data, one problem, with the even battles of `bridges`.
        met: each pair's battles in the data, ``(pairs,)``.
        groups: group of each contestant.
    """

    def __init__(self, pairs: Pairs, games: Games, met: Floats, groups: Ints) -> None:
        self._pairs, self._met = pairs, met
        strength = np.zeros((pairs.models, pairs.models))
        tied = 0.0 if games.tied is None else games.tied[:, 0] / 2
        strength[pairs.lo, pairs.hi] = games.points[:, 0] - tied
        strength[pairs.hi, pairs.lo] = (games.games - games.points)[:, 0] - tied
        place = np.full((pairs.models, pairs.models), -1)
        place[pairs.lo, pairs.hi] = np.arange(len(pairs))
        edges = []
        for group in range(groups.max() + 1):
            members = np.flatnonzero(groups == group)
            within = strength[np.ix_(members, members)]
            edges += [(members[i], members[j]) for i, j in _widest_tree(within)]
            edges += [(members[j], members[i]) for i, j in _widest_tree(within.T)]
        self._won = np.array([place[i, j] for i, j in edges if i < j], dtype=np.intp)
        self._lost = np.array([place[j, i] for i, j in edges if i > j], dtype=np.intp)

    def connect(self, games: Games) -> Games:
        """Return the resamples with even battles added to those that need them."""
        lo_beat, hi_beat = games.beaten()
        alive = lo_beat[self._won].all(axis=0) & hi_beat[self._lost].all(axis=0)
        columns = np.flatnonzero(~alive)
        if not len(columns):
            return games
        extra = np.zeros(games.games.shape)
        for column in columns:
            extra[:, [column]], _ = bridges(self._pairs, games.take(np.array([column])), self._met)
        return games.plus_even(extra)


def _widest_tree(strength: Floats) -> list[tuple[int, int]]:
    """Return the edges of the spanning tree from contestant 0 whose weakest edge is strongest (Prim)."""
    size = len(strength)
    inside = np.zeros(size, dtype=bool)
    inside[0] = True
    best, parent = strength[0].copy(), np.zeros(size, dtype=np.intp)
    edges = []
    for _ in range(size - 1):
        node = int(np.argmax(np.where(inside, -1.0, best)))
        edges.append((int(parent[node]), node))
        inside[node] = True
        wider = strength[node] > best
        best[wider], parent[wider] = strength[node][wider], node
    return edges
