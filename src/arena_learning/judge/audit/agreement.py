"""Measure how far a judge can be trusted: compare its verdicts with labelled pairs.

Agreement is over scored battles; the share of unscored ones is reported beside it. Intervals resample instructions,
because pairs of one instruction are not independent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from arena_learning.judge.audit.labelled import SIDES, Labelled
from arena_learning.judge.base import Judge
from arena_learning.judge.health import judge_health
from arena_learning.judge.play import Pairing, PlayedGames, play_games
from arena_learning.schema import Battle
from arena_learning.store import Store

_RESAMPLES = 2000
OUTCOMES = ("a", "b", "tie")
OUTCOME = {"model_a": "a", "model_b": "b", "tie": "tie", "both_bad": "tie"}
Table = npt.NDArray[np.float64]  # (..., 3, 3): counts by label and verdict, in the order of OUTCOMES


def audit_judge(judge: Judge, labelled: Labelled, store: Store, *, seed: int = 0) -> dict[str, Any]:
    """Let ``judge`` score every labelled pair in both orders, through the store, and compare it with the labels.

    Returns:
        ``judge`` (its label), ``judged`` (new games), ``all`` (the figures over all pairs, see `figures`), and
        ``sources`` and ``categories`` (the figures by name).

    Example:
        labelled = read_labelled(Path("pairs.jsonl"))
        audit = audit_judge(judge, labelled, store)
        audit["all"]["agreement"]  # {"value": 0.71, "lower": 0.66, "upper": 0.76}
    """
    ids = list(labelled.instructions)
    judged = play_games(
        [Pairing(i, *SIDES) for i in ids], labelled.instructions, labelled.responses, judge, store
    )
    by_id = {b.instruction_id: b for b in judged.battles}
    battles = [by_id[i] for i in ids]
    groups = {
        name: _grouped([getattr(pair, field) for pair in labelled.pairs])
        for name, field in (("sources", "source"), ("categories", "category"))
    }
    return {
        "judge": judge.label,
        "judged": judged.judged,
        "all": figures(labelled, battles, judged, range(len(ids)), seed),
        **{
            name: {key: figures(labelled, battles, judged, rows, seed) for key, rows in group.items()}
            for name, group in groups.items()
        },
    }


def figures(
    labelled: Labelled, battles: Sequence[Battle], judged: PlayedGames, rows: Sequence[int], seed: int
) -> dict[str, Any]:
    """Return the figures over some pairs, ``rows``.

    ``agreement`` counts three outcomes; ``agreement_decided`` only the ``decided`` pairs, where neither label nor
    verdict is a tie; ``kappa`` is Cohen's over three outcomes. Each has a 95 % interval, and is None if undefined. The
    rates are those of `judge_health`, a jury's included; tokens and seconds are per game.
    """
    chosen = [battles[i] for i in rows]
    ids = {b.instruction_id for b in chosen}
    games = [g for g in judged.games if g.instruction_id in ids]
    health = judge_health(games, chosen, labelled.responses)
    compared = compare_outcomes(
        [OUTCOME[labelled.pairs[i].label] for i in rows],
        [b.winner for b in chosen],
        [labelled.clusters[i] for i in rows],
        seed,
    )
    cost = len(judged.games) or 1
    return {
        "pairs": len(chosen),
        **compared,
        "tie_rate": health["tie_rate"],
        "flip_rate": health["flip_rate"],
        "first_position_share": health["first_position_share"],
        "longer_wins": health["longer_wins"],
        "unscored_rate": health["unscored_rate"],
        "unscored_reasons": health["unscored_reasons"],
        **{key: value for key, value in health.items() if key.startswith("members_")},
        "tokens_per_game": sum(g.tokens for g in games) / (len(games) or 1),
        "seconds_per_game": judged.seconds / cost,
    }


def compare_outcomes(
    labels: Sequence[str], verdicts: Sequence[str], clusters: Sequence[str], seed: int
) -> dict[str, Any]:
    """Compare two lists of outcomes of the same pairs, as `figures` does.

    Args:
        labels: ``a``, ``b`` or ``tie`` for each pair.
        verdicts: the same of the other side; a pair with ``unscored`` is left out.
        clusters: the pairs' instructions, which the intervals resample.
        seed: seed of the resamples.

    Returns:
        ``scored`` and ``decided`` (numbers of pairs), and ``agreement``, ``agreement_decided`` and ``kappa``, each with
        ``value``, ``lower`` and ``upper``, or None if undefined.
    """
    tables = _tables(labels, verdicts, clusters)
    whole = tables.sum(axis=0)
    return {
        "scored": int(whole.sum()),
        "decided": int(whole[:2, :2].sum()),
        "agreement": with_interval(agreement_share, tables, seed),
        "agreement_decided": with_interval(agreement_decided, tables, seed),
        "kappa": with_interval(kappa, tables, seed),
    }


def agreement_share(tables: Table) -> Table:
    """Return the share of equal outcomes, shape (...), of counts of shape (..., 3, 3)."""
    return _divide(np.trace(tables, axis1=-2, axis2=-1), tables.sum(axis=(-2, -1)))


def agreement_decided(tables: Table) -> Table:
    """Return the share of equal outcomes where neither side is a tie."""
    return agreement_share(tables[..., :2, :2])


def kappa(tables: Table) -> Table:
    """Return Cohen's kappa: agreement beyond that of two random raters with the same shares of outcomes."""
    total = tables.sum(axis=(-2, -1))
    chance = _divide((tables.sum(axis=-1) * tables.sum(axis=-2)).sum(axis=-1), total**2)
    return _divide(agreement_share(tables) - chance, 1 - chance)


def _divide(top: Table, bottom: Table) -> Table:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1), np.nan)


def with_interval(figure: Callable[[Table], Table], tables: Table, seed: int) -> dict[str, float | None]:
    """Return a figure of counts with its 95 % interval, which resamples the clusters; None where it is undefined.

    Args:
        figure: maps counts of shape (..., 3, 3) to figures of shape (...).
        tables: counts of each cluster, shape (clusters, 3, 3).
        seed: seed of the resamples.
    """
    nothing: dict[str, float | None] = {"value": None, "lower": None, "upper": None}
    if not len(tables):
        return nothing
    shares = np.full(len(tables), 1 / len(tables))
    draws = np.random.default_rng(seed).multinomial(len(tables), shares, size=_RESAMPLES)
    value = float(figure(tables.sum(axis=0)))
    drawn = figure(np.tensordot(draws.astype(np.float64), tables, axes=1))
    drawn = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or not len(drawn):
        return nothing
    lower, upper = np.quantile(drawn, [0.025, 0.975])
    return {"value": value, "lower": float(lower), "upper": float(upper)}


def _tables(labels: Sequence[str], verdicts: Sequence[str], clusters: Sequence[str]) -> Table:
    """Return the counts of scored pairs by label and verdict, one table for each instruction."""
    numbers = {cluster: n for n, cluster in enumerate(dict.fromkeys(clusters))}
    tables = np.zeros((len(numbers), 3, 3))
    for label, verdict, cluster in zip(labels, verdicts, clusters, strict=True):
        if verdict != "unscored":
            tables[numbers[cluster], OUTCOMES.index(label), OUTCOMES.index(verdict)] += 1
    return tables


def _grouped(names: Sequence[str]) -> dict[str, list[int]]:
    """Return the indices of each name, by name; nothing if there is only one name, since that is the whole."""
    groups: dict[str, list[int]] = {name: [] for name in sorted(set(names))}
    for place, name in enumerate(names):
        groups[name].append(place)
    return groups if len(groups) > 1 else {}
