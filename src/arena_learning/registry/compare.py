"""Compares a round's model with the champion on record, by files alone."""

from __future__ import annotations

from arena_learning.core import ArenaError, Paths
from arena_learning.engines import weights_digest
from arena_learning.leaderboard import mapping_at, read_arena_battles, read_document
from arena_learning.params import BASE, Params
from arena_learning.registry.capability import capability_check
from arena_learning.registry.checks import Check, Comparison
from arena_learning.registry.elo_difference import elo_check, fit_judge
from arena_learning.registry.external import external_checks
from arena_learning.registry.limits import limit_checks
from arena_learning.schema import Decision, past_champions, read_decisions


def compare_with_champion(candidate: str, params: Params, paths: Paths) -> Comparison:
    """Compare a round's model with the champion, or with the base where there is none; writes nothing.

    Raises:
        ArenaError: the round's model was not evaluated, or a file is malformed.
    """
    board = read_document(paths.leaderboard)
    if candidate not in mapping_at(board, "answers"):
        raise ArenaError(
            f"'{candidate}' is not on the leaderboard",
            where=str(paths.leaderboard),
            hint="run `arena repro`: it evaluates every round of params.yaml",
        )
    champion = champion_on_record(paths)
    against = champion.round if champion else BASE
    judge = fit_judge(params)
    if champion and (unknown := _unknown(champion, params, paths)):
        return Comparison(candidate, against, judge, (unknown,))
    arena = read_arena_battles(paths)
    checks = (
        elo_check(candidate, against, judge, arena, params),
        *limit_checks(candidate, against, mapping_at(board, "answers"), arena, params),
        capability_check(candidate, against, params.gate.capability_fall, paths),
        *external_checks(candidate, against, params, paths),
    )
    return Comparison(candidate, against, judge, checks)


def champion_on_record(paths: Paths) -> Decision | None:
    """Return the promotion of the champion, or None if there is no champion.

    Raises:
        ArenaError: registry.json is malformed.
    """
    champions = past_champions(read_decisions(paths.registry))
    return champions[-1] if champions else None


def weights_here(name: str, paths: Paths) -> str:
    """Return the SHA-256 of the weights in a model's folder now; empty if it holds none."""
    folder = paths.model(name)
    return weights_digest(folder) if any(folder.glob("*.safetensors")) else ""


def holds_promoted(champion: Decision, paths: Paths) -> bool:
    """Whether the champion's folder holds the weights that were promoted: it may have been trained again."""
    return weights_here(champion.round, paths) == champion.weights


def _unknown(champion: Decision, params: Params, paths: Paths) -> Check | None:
    """Return why the champion's figures on the leaderboard are not those of the promoted weights; None if they are."""
    name = champion.round
    back = "bring it back with git and `dvc checkout`, or move back with `arena rollback`"
    if name not in params.contestants:
        return Check("champion", False, f"the champion {name} is no longer a round of params.yaml; {back}")
    here = weights_here(name, paths)
    if here != champion.weights:
        now = f"models/{name} holds others ({here[:12]})" if here else f"models/{name} holds none"
        said = f"the champion {name} was promoted with weights {champion.weights[:12]}, and {now}; {back}"
        return Check("champion", False, said)
    return None
