"""The test set behind a leaderboard: its identity, its parts, and the ratings on each part (paper, Table 4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from arena_learning.core import ArenaError, Paths
from arena_learning.leaderboard.round_files import mapping_at, read_document
from arena_learning.leaderboard.standing import standing
from arena_learning.params import Params
from arena_learning.pool import fingerprint
from arena_learning.rating import RatingParams, rate
from arena_learning.schema import AnyBattle, Instruction, read_rows

if TYPE_CHECKING:
    import pandas as pd

Parts = Mapping[str, frozenset[str]]


def checked_test_set(
    arena: Mapping[str, Sequence[AnyBattle]], health: Mapping[str, Any], paths: Paths
) -> dict[str, Any]:
    """Return the test set's size, fingerprint, kind and categories; refuse battles of another one.

    Args:
        arena: the test set's battles by judge.
        health: the judges' metrics of the stage `evaluate`, each with the ``test_set`` that it judged.
        paths: the project's paths.

    Raises:
        ArenaError: the battles are on another test set: other ids, or the same ids with other texts.
    """
    test = read_rows(paths.split("test"), Instruction)
    own, names = fingerprint(test), {one.id for one in test}
    others = {b.instruction_id for battles in arena.values() for b in battles} - names
    judged = {one["test_set"] for one in health.values() if one.get("test_set")} - {own}
    if others or judged:
        what = (
            f"{len(others)} of their instructions are not in this one, such as '{min(others)}'"
            if others
            else f"its fingerprint is {min(judged)}, and this one's is {own}"
        )
        raise ArenaError(
            f"battles of another test set: {what}",
            where=str(paths.arena_battles),
            hint="run `arena evaluate` again: ratings of two test sets do not compare",
        )
    card = mapping_at(read_document(paths.prepare_card), "test_set")
    return {
        "instructions": len(test),
        "fingerprint": own,
        "kind": card.get("kind", "draw") if card.get("fingerprint") == own else "unknown",
        "categories": dict(sorted(Counter(one.category for one in test).items())),
        "multi_turn": sum(one.multi_turn for one in test),
    }


def parts_of_test_set(test_set: Mapping[str, Any], paths: Paths) -> Parts:
    """Return the ids of each part of a mixed test set; empty for a test set of one kind.

    Args:
        test_set: what `checked_test_set` returned.
        paths: the project's paths, with the data card that names the parts.
    """
    card = mapping_at(read_document(paths.prepare_card), "test_set")
    if test_set["kind"] != "mix" or card.get("fingerprint") != test_set["fingerprint"]:
        return {}
    return {name: frozenset(ids) for name, ids in mapping_at(card, "parts").items()}


def boards_by_part(
    frame: pd.DataFrame, how: RatingParams, parts: Parts, params: Params
) -> dict[str, dict[str, Any]]:
    """Return one judge's ratings on each part of the test set.

    Args:
        frame: the judge's scored battles (`schedule.battles_frame`).
        how: how the whole leaderboard rates.
        parts: the instructions of each part.
        params: the rounds and the anchor.

    Returns:
        By part: the number of ``instructions`` with battles; ``ratings``, ``gain`` and ``steps`` (`standing.standing`).
        A part in which the anchor has no battle has none.
    """
    boards: dict[str, dict[str, Any]] = {}
    for name, ids in parts.items():
        own = frame[frame["prompt_id"].isin(ids)]
        board: dict[str, Any] = {"instructions": int(own["prompt_id"].nunique()), "ratings": [], "steps": []}
        if params.evaluate.anchor in {*own["model_a"], *own["model_b"]}:
            board |= standing(rate(own, how), params)
        boards[name] = {"gain": None, **board}
    return boards
