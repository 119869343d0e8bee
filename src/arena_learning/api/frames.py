"""Rows as pandas data frames."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from arena_learning.schema import Battle, Response, Row

if TYPE_CHECKING:
    import pandas as pd

# A battle's outcome in the words of `rating.rate`; it passes over rows without one.
_WINNERS = {"a": "model_a", "b": "model_b", "tie": "tie", "unscored": None}
_BATTLE = {"a": "model_a", "b": "model_b", "instruction_id": "prompt_id"}


def frame_of(rows: Iterable[Row], kind: type[Row]) -> pd.DataFrame:
    """Return rows as a frame with a column for each field of ``kind``, also if there are no rows."""
    import pandas as pd

    return pd.DataFrame(
        [{name: getattr(row, name) for name in kind.model_fields} for row in rows],
        columns=[*kind.model_fields],
    )


def battle_frame(battles: Iterable[Battle]) -> pd.DataFrame:
    """Return battles with the columns of `rating.rate` and their other fields; ``winner`` is None if unscored."""
    import pandas as pd

    table = frame_of(battles, Battle).rename(columns=_BATTLE)
    table["winner"] = pd.Series([_WINNERS[winner] for winner in table["winner"]], dtype=object)
    first = ["model_a", "model_b", "winner", "prompt_id"]
    return table[[*first, *(name for name in table.columns if name not in first)]]


def responses_of(answers: pd.DataFrame, where: str) -> list[Response]:
    """Return the rows of a frame of answers.

    Args:
        answers: columns ``instruction_id``, ``contestant`` and ``text``; other columns of `Response` may be missing.
        where: the frame's name in errors.

    Raises:
        ArenaError: a column is missing, a row is malformed, or a contestant answers an instruction twice.
    """
    from pydantic import ValidationError

    from arena_learning.core import ArenaError
    from arena_learning.schema import describe_invalid

    needed = ("instruction_id", "contestant", "text")
    missing = [name for name in needed if name not in answers.columns]
    if missing:
        raise ArenaError(
            f"no column {', '.join(missing)}; it has {', '.join(map(str, answers.columns))}",
            where=where,
            hint="rename a column: answers.rename(columns={'theirs': 'ours'})",
        )
    usual = {"finish_reason": "stop", "prompt_tokens": 0, "completion_tokens": 0}
    known = [name for name in Response.model_fields if name in answers.columns]
    found: dict[tuple[str, str], Response] = {}
    for number, values in enumerate(answers[known].to_dict(orient="records"), 1):
        row: dict[str, Any] = {
            str(name): value for name, value in values.items() if value is not None and value == value
        }  # a cell without a value is NaN
        try:
            response = Response.model_validate({**usual, **row})
        except ValidationError as error:
            raise ArenaError(describe_invalid(error), where=f"{where}, row {number}") from None
        key = (response.instruction_id, response.contestant)
        if key in found:
            raise ArenaError(f"{key[1]!r} answers {key[0]!r} twice", where=f"{where}, row {number}")
        found[key] = response
    return list(found.values())
