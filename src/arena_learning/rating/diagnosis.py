"""Findings that limit how far ratings can be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from arena_learning.rating.result import CENTRE, Finding
from arena_learning.rating.stopping import widening_at_stop

if TYPE_CHECKING:
    from arena_learning.rating.arrays import Ints
    from arena_learning.rating.result import RatingParams

# Below this many clusters even the corrected intervals are a rough guess.
FEW_CLUSTERS = 20


def diagnose(
    models: tuple[str, ...],
    groups: Ints,
    parts: Ints,
    outcomes: tuple[Ints, Ints, Ints],
    clusters: int,
    by_prompt: bool,
    params: RatingParams,
) -> list[Finding]:
    """Return the findings that make ratings doubtful.

    Args:
        models: names.
        groups: group of contestants connected by battles, ``(models,)``.
        parts: strongly connected part of the graph of wins, ``(models,)``.
        outcomes: wins, ties and losses, ``(models,)`` each.
        clusters: number of independent prompts or battles.
        by_prompt: whether these are prompts.
        params: how ratings were made.

    Returns:
        Findings, the most serious first.
    """
    findings = _unconnected(models, groups, params)
    wins, ties, losses = outcomes
    counted = ties if params.ties == "half" else np.zeros_like(ties)
    alone = np.bincount(parts)[parts] == 1
    several = np.bincount(groups)[groups] > 1
    undefeated = alone & several & (losses + counted == 0) & (wins > 0)
    winless = alone & several & (wins + counted == 0) & (losses > 0)
    battles = "battles" if params.ties == "half" else "decided battles"
    findings += [
        _by_prior("undefeated", models[i], f"won all its {wins[i]} {battles}", "ahead")
        for i in np.flatnonzero(undefeated)
    ]
    findings += [
        _by_prior("winless", models[i], f"won none of its {losses[i]} {battles}", "behind")
        for i in np.flatnonzero(winless)
    ]
    findings += _one_sided(models, groups, parts, undefeated | winless)
    if params.stop == "adaptive":
        wider = widening_at_stop(len(models))
        findings.append(
            Finding(
                "adaptive",
                "the adaptive schedule chose the battles and stopped by what it saw: intervals allow for "
                f"that, and are {wider:.2f} times as wide as those of battles chosen beforehand",
            )
        )
    if clusters < FEW_CLUSTERS:
        kind = "prompts" if by_prompt else "battles"
        findings.append(
            Finding(
                "few_clusters", f"only {clusters} {kind}: intervals are a rough guess below {FEW_CLUSTERS}"
            )
        )
    return findings


def _by_prior(kind: str, model: str, did: str, where: str) -> Finding:
    message = (
        f"{model} {did}: its rating is finite only by the prior (as if it had also fought one even battle "
        f"with each part of the field it met), and how far it is {where} is not known"
    )
    return Finding(kind, message, (model,))


def _names(models: tuple[str, ...], members: np.ndarray, most: int = 8) -> str:
    names = [models[i] for i in members[:most]]
    more = f" and {len(members) - most} more" if len(members) > most else ""
    return ", ".join(names) + more


def _unconnected(models: tuple[str, ...], groups: Ints, params: RatingParams) -> list[Finding]:
    number = int(groups.max()) + 1
    if number == 1:
        return []
    held = [np.flatnonzero(groups == group) for group in range(number)]
    lists = "; ".join(f"group {group}: {_names(models, members)}" for group, members in enumerate(held))
    pinned = f"the anchor holds group 0, the others have a mean of {CENTRE:g}" if params.anchor else ""
    pinned = pinned or f"each group has a mean of {CENTRE:g}"
    return [
        Finding(
            "unconnected",
            f"{number} groups never met: ratings and ranks compare only within each ({pinned}): {lists}",
            tuple(models[i] for members in held[1:] for i in members),
        )
    ]


def _one_sided(models: tuple[str, ...], groups: Ints, parts: Ints, named: np.ndarray) -> list[Finding]:
    """Name the parts that won or lost all battles against the rest, except contestants named before."""
    findings = []
    for group in range(int(groups.max()) + 1):
        inside = [part for part in np.unique(parts[groups == group]) if not named[parts == part].all()]
        if len(np.unique(parts[groups == group])) < 2:
            continue
        held = [np.flatnonzero(parts == part) for part in inside]
        if len(held) < 2:
            continue
        lists = "; ".join(_names(models, members) for members in held)
        findings.append(
            Finding(
                "one_sided",
                "between these parts of the field one side won every battle, so that only the prior says how "
                f"far they are apart: {lists}",
                tuple(models[i] for members in held for i in members),
            )
        )
    return findings
