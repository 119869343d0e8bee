"""The list of figures in reports/figures, and how they are saved; draw_*.py draws them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from arena_learning.core import Paths, read_json
from arena_learning.leaderboard import judge_names
from arena_learning.params import Params
from arena_learning.report.tables import ordered_boards
from arena_learning.report.views import ARENA, read_battle_log, target_of
from arena_learning.schema import BattleResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Resolution of the files: sharp on a phone at half the width, and small enough to embed in a page.
DPI = 160


class FigureFile(NamedTuple):
    """A figure's file, its title, and a description for readers who cannot see it.

    ``broad`` figures take the page's whole width.
    """

    path: Path
    title: str
    alt: str
    broad: bool = False


def make_figures(params: Params, paths: Paths) -> list[FigureFile]:
    """Draw all figures from the files of the leaderboard and the rounds; equal files give equal bytes.

    Raises:
        ArenaError: the leaderboard, the test set's battles or a round's battles are missing.
    """
    import matplotlib.style

    from arena_learning.report.draw_style import STYLE

    leaderboard = read_json(paths.leaderboard)
    files = _files(paths, leaderboard)
    with matplotlib.style.context(["default", STYLE]):
        drawn = _draw(params, paths, leaderboard)
        for file in files:
            _save(drawn[file.path.name], file.path)
    return files


def list_figures(paths: Paths, leaderboard: Mapping[str, Any]) -> list[FigureFile]:
    """Return the figures that `make_figures` has drawn."""
    return [file for file in _files(paths, leaderboard) if file.path.is_file()]


def _files(paths: Paths, leaderboard: Mapping[str, Any]) -> list[FigureFile]:
    judge = leaderboard["judge"]
    named = [
        (
            _elo_name(name, leaderboard),
            f"Elo over rounds by the judge '{name}'",
            f"Ratings of the base and of each round with 95 % intervals, as in the leaderboard of {name}.",
        )
        for name, _ in ordered_boards(leaderboard)
    ]
    named += [
        (
            "win_rates.png",
            f"Who beats whom on the test set, by the judge '{judge}'",
            "A matrix of win rates, row against column. Each leaderboard has it as a table.",
        ),
        (
            "categories.png",
            f"Scores by category before and after, by the judge '{judge}'",
            "Mean score of the base and of the last round in each category, with the difference's interval.",
        ),
        (
            "gaps.png",
            "How each round's target fared in the battles it learnt from",
            "A histogram a round: the target's score less its opponent's, lost, tied and won battles apart.",
        ),
    ]
    return [FigureFile(paths.figures / name, title, alt, name == "gaps.png") for name, title, alt in named]


def _elo_name(judge: str, leaderboard: Mapping[str, Any]) -> str:
    return "elo.png" if judge == leaderboard["judge"] else f"elo_{judge}.png"


def _draw(params: Params, paths: Paths, leaderboard: Mapping[str, Any]) -> dict[str, Figure]:
    """Return all figures by file name."""
    from arena_learning.report import draw_battles, draw_elo

    judge = leaderboard["judge"]
    arena = read_battle_log(ARENA, params, paths).results
    names = judge_names(paths)
    own = [d for d in arena if names[d.judge] == judge]
    index = {name: params.rounds[name].index for name in params.ordered_rounds}
    drawn = {
        _elo_name(name, leaderboard): draw_elo.elo_over_rounds(name, board, index)
        for name, board in ordered_boards(leaderboard)
    }
    drawn["win_rates.png"] = draw_battles.win_rates(judge, leaderboard["boards"][judge])
    drawn["categories.png"] = draw_battles.categories(judge, own, *params.compared)
    drawn["gaps.png"] = draw_battles.gaps(
        {name: _target_results(name, params, paths) for name in params.ordered_rounds}, params
    )
    return drawn


def _target_results(name: str, params: Params, paths: Paths) -> list[BattleResult]:
    """Return the results of a round's target; none for a round without a target."""
    target = target_of(name, params)
    return read_battle_log(name, params, paths).of(target) if target else []


def _save(figure: Figure, path: Path) -> None:
    """Write the figure as PNG, whole or not at all, without the metadata that name the library's version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": None})
    os.replace(temporary, path)
