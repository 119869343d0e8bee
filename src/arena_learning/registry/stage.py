"""The `gate` stage: write the comparison of the last round's model with the champion; it decides nothing."""

from __future__ import annotations

from typing import Any

from arena_learning.core import Paths, write_json
from arena_learning.params import Params
from arena_learning.registry.compare import champion_on_record, compare_with_champion, weights_here
from arena_learning.report import make_gate_page


def write_gate(params: Params, paths: Paths) -> dict[str, Any]:
    """Write the comparison as JSON and as a page, and return it.

    Where the last round's model is the champion already there is nothing to compare, and the files say so.

    Raises:
        ArenaError: the leaderboard is missing, or a file is malformed.
    """
    found = _figures(params, paths)
    write_json(paths.gate, found)
    make_gate_page(found, paths)
    return found


def _figures(params: Params, paths: Paths) -> dict[str, Any]:
    rounds = params.ordered_rounds
    if not rounds:
        return {"candidate": "", "note": "there is no round"}
    last, champion = rounds[-1], champion_on_record(paths)
    if champion and (champion.round, champion.weights) == (last, weights_here(last, paths)):
        return {"candidate": last, "note": f"{last} is the champion since {champion.when}"}
    return compare_with_champion(last, params, paths).figures()
