"""A project's results as data frames."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from arena_learning.api.frames import battle_frame, frame_of
from arena_learning.core import ArenaError, Paths, find_project, read_json, suggest
from arena_learning.schema import (
    Battle,
    Game,
    Instruction,
    PreferenceRow,
    Response,
    Row,
    SampleScore,
    SftRow,
    iter_rows,
    read_rows,
)

if TYPE_CHECKING:
    import pandas as pd

    from arena_learning.params import Params

# The files of a round, with the kind of their rows.
_ROUND: dict[str, type[Row]] = {
    "responses": Response,
    "samples": Response,
    "games": Game,
    "sample_scores": SampleScore,
    "sft": SftRow,
    "preferences": PreferenceRow,
}


class Project:
    """A project's parameters and results; everything is read when it is asked for.

    Attributes:
        paths: where its files are.
    """

    def __init__(self, paths: Paths) -> None:
        self.paths = paths

    def __repr__(self) -> str:
        return f"Project({str(self.paths.root)!r})"

    @cached_property
    def params(self) -> Params:
        """The parameters, from params.yaml."""
        from arena_learning.params import load_params

        return load_params(self.paths.params)

    def leaderboard(self, judge: str = "") -> pd.DataFrame:
        """Return a judge's leaderboard, a row a contestant, the highest rating first.

        Args:
            judge: a name of ``evaluate.judges``; empty for the first one.

        Raises:
            ArenaError: there is no leaderboard yet, or it has no such judge.
        """
        import pandas as pd

        boards = read_json(self.paths.leaderboard)["boards"]
        chosen = judge or self.params.evaluate.judges[0]
        if chosen not in boards:
            raise ArenaError(f"no leaderboard of '{chosen}'", hint=suggest(chosen, boards))
        return pd.DataFrame(boards[chosen]["ratings"])

    def battles(self, where: str = "test", judge: str = "") -> pd.DataFrame:
        """Return battles, with the columns of `judge_answers`; `rate` takes them.

        Args:
            where: ``test`` for those of the leaderboard, or a round's name.
            judge: of the test set: a name of ``evaluate.judges``; empty for the first one. A round has one judge.

        Raises:
            ArenaError: no such round or judge, or its stage has not run.
        """
        if where != "test":
            return battle_frame(read_rows(self._of_round(where, "battles"), Battle))
        from arena_learning.leaderboard import judge_names

        names = judge_names(self.paths)
        chosen = judge or self.params.evaluate.judges[0]
        if chosen not in names.values():
            raise ArenaError(f"no battles of judge '{chosen}'", hint=suggest(chosen, list(names.values())))
        rows = iter_rows(self.paths.arena_battles, Battle)
        return battle_frame(row for row in rows if names[row.judge] == chosen)

    def rows(self, where: str, kind: str) -> pd.DataFrame:
        """Return the rows of a round's file, a column a field.

        Args:
            where: a round's name.
            kind: ``responses``, ``samples``, ``games``, ``sample_scores``, ``sft`` or ``preferences``.

        Raises:
            ArenaError: no such round or kind, or its stage has not run.
        """
        if kind not in _ROUND:
            raise ArenaError(f"'{kind}' is no kind of rows", hint=suggest(kind, _ROUND))
        return frame_of(read_rows(self._of_round(where, kind), _ROUND[kind]), _ROUND[kind])

    def instructions(self, split: str = "test") -> pd.DataFrame:
        """Return the instructions of ``test``, ``validation`` or a split (``d0`` to ``d9``)."""
        return frame_of(read_rows(self.paths.split(split), Instruction), Instruction)

    def answers(self, *contestants: str) -> pd.DataFrame:
        """Return the answers to the test set of these contestants, or of all.

        Raises:
            ArenaError: no such contestant, or it has not answered yet.
        """
        for name in contestants:
            if name not in self.params.contestants:
                raise ArenaError(f"no contestant '{name}'", hint=suggest(name, self.params.contestants))
        files = [self.paths.arena_responses(name) for name in contestants or self.params.contestants]
        return frame_of((row for file in files for row in read_rows(file, Response)), Response)

    def _of_round(self, name: str, kind: str) -> Path:
        from arena_learning.params import check_round_name

        check_round_name(name, self.params)
        return self.paths.round(name) / f"{kind}.jsonl"


def load_project(root: str | Path | None = None) -> Project:
    """Return the project at ``root``; by default that of the current folder or its nearest parent.

    Raises:
        ArenaError: there is no params.yaml.

    Example::

        project = al.load_project()
        project.leaderboard()[["model", "rating", "lower", "upper"]]
        al.rate(project.battles("sft-i1"), anchor=("base", 1000.0)).to_frame()
    """
    return Project(find_project(root))
