"""Promote a round's model, or roll back: each decision is added to registry.json."""

from __future__ import annotations

from datetime import UTC, datetime

from arena_learning.core import ArenaError, Paths, suggest
from arena_learning.engines import check_folder
from arena_learning.params import BASE, Params, check_round_name
from arena_learning.registry.compare import compare_with_champion, holds_promoted, weights_here
from arena_learning.schema import Decision, past_champions, read_decisions, write_decisions
from arena_learning.tracking import md5


def promote(name: str, params: Params, paths: Paths, *, write: bool = True) -> Decision:
    """Compare a round's model with the champion, and make it the champion if no check fails.

    Args:
        name: the round.
        params: the limits.
        paths: the project.
        write: add the decision to registry.json.

    Raises:
        ArenaError: the model does not exist, was not evaluated, or is the champion already.
    """
    check_round_name(name, params)
    check_folder(paths.model(name))
    decisions = read_decisions(paths.registry)
    champions = past_champions(decisions)
    weights = weights_here(name, paths)
    if champions and (champions[-1].round, champions[-1].weights) == (name, weights):
        raise ArenaError(f"{name} is the champion already", where=str(paths.registry))
    compared = compare_with_champion(name, params, paths)
    decision = Decision(
        kind="promote",
        when=_now(),
        round=name,
        weights=weights,
        against=compared.against,
        accepted=compared.passes,
        reasons=compared.reasons,
        leaderboard=md5(paths.leaderboard),
        figures=compared.figures(),
    )
    if write:
        write_decisions(paths.registry, [*decisions, decision])
    return decision


def roll_back(to: str, paths: Paths) -> Decision:
    """Move the champion back to an earlier one, and return the decision.

    Args:
        to: an earlier champion's round, or ``base`` for none; empty: the champion before this one.
        paths: the project.

    Raises:
        ArenaError: there is no champion, or no such earlier one, or its folder does not hold the promoted weights.
    """
    decisions = read_decisions(paths.registry)
    champions = past_champions(decisions)
    if not champions:
        hint = "promote a round first: `arena promote`"
        raise ArenaError("there is no champion to roll back", where=str(paths.registry), hint=hint)
    now, earlier = champions[-1], champions[:-1]
    target = to or (earlier[-1].round if earlier else BASE)
    found = next((one for one in reversed(earlier) if one.round == target), None)
    if target != BASE and found is None:
        known = {BASE, *(one.round for one in earlier)}
        raise ArenaError(
            f"'{target}' was no champion before {now.round}", where="--to", hint=suggest(target, known)
        )
    if found is not None and not holds_promoted(found, paths):
        raise ArenaError(
            f"the folder does not hold the promoted weights ({found.weights[:12]})",
            where=str(paths.model(target)),
            hint="bring them back with git and `dvc checkout`, or go back to another one: --to base",
        )
    if found is not None and (found.round, found.weights) == (now.round, now.weights):
        raise ArenaError(f"{target} is the champion now", where="--to", hint="name another earlier champion")
    decision = Decision(
        kind="rollback",
        when=_now(),
        round=target,
        weights=found.weights if found else "",
        against=now.round,
        accepted=True,
    )
    write_decisions(paths.registry, [*decisions, decision])
    return decision


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
