"""Read the files that stages have written so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from arena_learning.core import Paths
from arena_learning.leaderboard import (
    Document,
    RoundFiles,
    first_judge_first,
    read_arena_battles,
    read_document,
    read_rounds,
)
from arena_learning.params import Params
from arena_learning.report import LedgerRow, read_ledger_rows
from arena_learning.schema import AnyBattle


class Files(NamedTuple):
    """The files to show, except those that the runs' tables and datasets read themselves.

    Attributes:
        rounds: by name, in order.
        board: the leaderboard, or an empty mapping.
        arena: the test set's battles by judge name, the first judge first.
        ledger: what was spent, by round, stage, contestant and judge.
    """

    rounds: dict[str, RoundFiles]
    board: Document
    arena: Mapping[str, Sequence[AnyBattle]]
    ledger: Sequence[LedgerRow] = ()


def read_files(params: Params, paths: Paths) -> Files:
    """Read the metrics files, the cards, the leaderboard and the ledger.

    Raises:
        ArenaError: an existing file is malformed.
    """
    found = read_arena_battles(paths) if paths.arena_battles.is_file() else {}
    return Files(
        read_rounds(params, paths),
        read_document(paths.leaderboard),
        first_judge_first(found, params),
        read_ledger_rows(params, paths),
    )
