"""The files that stages leave, read as far as they are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from arena_learning.core.paths import Paths
from arena_learning.leaderboard.evaluate import read_arena_battles
from arena_learning.leaderboard.monitors import first_judge_first
from arena_learning.leaderboard.round_files import Document, RoundFiles, document, read_rounds
from arena_learning.params import Params
from arena_learning.schema.rows import Battle


class Files(NamedTuple):
    """All that is shown, except what the runs' tables and datasets read for themselves.

    Attributes:
        rounds: by name, in order.
        board: the leaderboard, or an empty mapping.
        arena: the battles of the test set by the judge's name, the first judge first.
    """

    rounds: dict[str, RoundFiles]
    board: Document
    arena: Mapping[str, Sequence[Battle]]


def read_files(params: Params, paths: Paths) -> Files:
    """Read the metrics files, cards and the leaderboard.

    Raises:
        ArenaError: a file that is there is malformed.
    """
    found = read_arena_battles(paths) if paths.arena_battles.is_file() else {}
    return Files(read_rounds(params, paths), document(paths.leaderboard), first_judge_first(found, params))
