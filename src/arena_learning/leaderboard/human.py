"""People's verdicts on battles of the test set, and the leaderboard on their scale."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from arena_learning.core import ArenaError, Paths
from arena_learning.importers import Record, has_winner, records, winner_of, without_replaced
from arena_learning.leaderboard.evaluate import Responses
from arena_learning.leaderboard.standing import standing
from arena_learning.params import Params
from arena_learning.rating import RatingParams, TooFewVerdictsError, calibrate_ratings
from arena_learning.schema import (
    NO_WINNER,
    HumanVerdict,
    Instruction,
    ReviewSampling,
    read_rows,
)

if TYPE_CHECKING:
    import pandas as pd

_DISAGREEMENT: ReviewSampling = "disagreement"
# Where rows are passed over for these reasons, the file is the right one, although none of it may count.
_CHOSEN = "chosen because judges disagree, not by chance"
_OUTDATED = "other answers than the leaderboard's"
_NO_MISTAKE = {NO_WINNER, _CHOSEN, _OUTDATED}
_NEEDED = "needed: instruction_id, model_a, model_b, and winner (model_a, model_b, tie, or the like)"


class HumanVerdicts(NamedTuple):
    """People's verdicts on battles of the leaderboard.

    Attributes:
        rows: the verdicts.
        passed: number of rows that are not about this leaderboard, by reason.
    """

    rows: list[HumanVerdict]
    passed: dict[str, int]

    def frame(self) -> pd.DataFrame:
        """Return the verdicts in the columns of `rating.rate`."""
        import pandas as pd

        rows = [(v.model_a, v.model_b, v.winner, v.instruction_id) for v in self.rows]
        return pd.DataFrame(rows, columns=["model_a", "model_b", "winner", "prompt_id"])


def read_human_verdicts(
    params: Params, paths: Paths, responses: Responses | None = None
) -> HumanVerdicts | None:
    """Read the file or folder ``evaluate.human_verdicts``; None if there is none.

    Counted and passed over are rows about other instructions or contestants than the test set's, rows without a winner,
    battles that were chosen because judges disagree (calibration needs battles chosen by chance), and, where a row
    holds the answers that were judged, those whose answers are others now. A row that another one ``replaces`` is not
    read.

    Args:
        params: names the file.
        paths: the project.
        responses: the contestants' answers now, by (instruction id, contestant); None: answers are not compared.

    Raises:
        ArenaError: the file is missing, a row is malformed, or none is about this leaderboard. Rows that were about it,
            but on answers that are others now, are no error: a new training must not stop for them.
    """
    name = params.evaluate.human_verdicts
    if not name:
        return None
    path = paths.user_file(name, "evaluate.human_verdicts", outside=params.files_outside)
    if not path.exists():
        raise ArenaError(
            f"no such file: {name}",
            where="params.yaml, evaluate.human_verdicts",
            hint="give a file or folder of people's verdicts, or remove the key",
        )
    asked = {i.id for i in read_rows(paths.split("test"), Instruction)}
    passed: Counter[str] = Counter()
    rows = []
    for record in without_replaced(records(path)):
        row = _read(record)
        if row is None:
            passed[NO_WINNER] += 1
        elif reason := _passed(record, row, asked, set(params.contestants), responses):
            passed[reason] += 1
        else:
            rows.append(row)
    if not rows and not passed.keys() & _NO_MISTAKE:
        raise ArenaError(
            "no verdict in it is about this leaderboard",
            where=str(path),
            hint=f"passed over: {dict(passed)}; {_NEEDED}" if passed else _NEEDED,
        )
    return HumanVerdicts(rows, dict(sorted(passed.items())))


def _read(record: Record) -> HumanVerdict | None:
    """Return a row's verdict, or None if it names no winner."""
    if not has_winner(record.fields):
        raise ArenaError("no column for the winner", where=record.where, hint=_NEEDED)
    winner = winner_of(record)
    if winner is None:
        return None
    a, b = record.text("model_a"), record.text("model_b")
    if a == b:
        raise ArenaError(f"{a!r} meets itself", where=record.where, hint=_NEEDED)
    asked = record.text("instruction_id", "prompt_id")
    return HumanVerdict(instruction_id=asked, model_a=a, model_b=b, winner=winner)


def _passed(
    record: Record, row: HumanVerdict, asked: set[str], contestants: set[str], responses: Responses | None
) -> str:
    """Return why a verdict does not count; empty if it does."""
    names = (row.model_a, row.model_b)
    if row.instruction_id not in asked:
        return "an instruction that is not in the test set"
    if not contestants.issuperset(names):
        return "a contestant that is not on the leaderboard"
    if record.fields.get("sampling") == _DISAGREEMENT:
        return _CHOSEN
    if responses is not None and _is_outdated(record, row.instruction_id, names, responses):
        return _OUTDATED
    return ""


def _is_outdated(record: Record, asked: str, names: tuple[str, str], responses: Responses) -> bool:
    """Return whether the row's answers, if it holds any, are not the contestants' answers now."""
    judged = zip(names, ("response_a", "response_b"), strict=True)
    known = [
        (responses.get((asked, name)), record.fields[column])
        for name, column in judged
        if column in record.fields
    ]
    return any(now is not None and now.text != text for now, text in known)


def calibrated_board(
    frame: pd.DataFrame, human: HumanVerdicts, how: RatingParams, params: Params
) -> dict[str, Any]:
    """Return one judge's ratings on the scale of human verdicts.

    Args:
        frame: the judge's scored battles (`schedule.battles_frame`).
        human: people's verdicts on some of them.
        how: how the plain leaderboard rates.
        params: the rounds and the anchor.

    Returns:
        ``ratings``, ``gain`` and ``steps`` (`standing.standing`), a rating also with its number of human ``verdicts``;
        what `rating.Calibrated` says of them; ``passed_over``. Or ``problem`` alone with ``passed_over``, where the
        verdicts are too few.
    """
    try:
        found = calibrate_ratings(frame, human.frame(), how)
    except TooFewVerdictsError as error:
        return {"problem": str(error), "passed_over": human.passed}
    board = standing(found.result, params)
    board["ratings"] = [{**r, "verdicts": found.by_model[r["model"]]} for r in board["ratings"]]
    return {
        **board,
        "power": found.power,
        "worth": found.worth,
        "verdicts": found.verdicts,
        "instructions": found.prompts,
        "agreement": found.agreement,
        "unmatched": found.unmatched,
        "left_out": list(found.left_out),
        "passed_over": human.passed,
    }
