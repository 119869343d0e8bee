"""Style control on the leaderboard: what the ratings would be if answers were equally long and equally formatted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from arena_learning.core import words
from arena_learning.leaderboard.standing import standing
from arena_learning.params import Params
from arena_learning.rating import RatingResult, battles_from_frame, rate_with_style
from arena_learning.schema import Response

if TYPE_CHECKING:
    import pandas as pd

# A fence may be left open where an answer was cut off.
_CODE = re.compile(r"^ {0,3}(```|~~~).*?(?:^ {0,3}\1|\Z)", re.MULTILINE | re.DOTALL)
# A style is held equal if answers differ in it on so many instructions.
LEAST_INSTRUCTIONS = 10
_MARKS = {
    "headers": re.compile(r"^ {0,3}#{1,6}\s", re.MULTILINE),
    "lists": re.compile(r"^\s*(?:\d+[.)]|[-*+])\s+\S", re.MULTILINE),
    "bold": re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__"),
}


class AnswerStyle(NamedTuple):
    """Length and Markdown of an answer.

    Attributes:
        length: words.
        headers: lines that are a header.
        lists: items of lists, numbered or not.
        bold: bold passages.
    """

    length: int
    headers: int
    lists: int
    bold: int


Styles = Mapping[tuple[str, str], AnswerStyle]


def answer_style(text: str) -> AnswerStyle:
    """Measure an answer; what looks like Markdown inside a fenced block of code is not counted.

    Example:
        >>> answer_style("# Two fruits\\n- an **apple**\\n- a pear")
        AnswerStyle(length=6, headers=1, lists=2, bold=1)
    """
    prose = _CODE.sub("", text) if "```" in text or "~~~" in text else text
    marks = {name: len(mark.findall(prose)) for name, mark in _MARKS.items()}
    return AnswerStyle(len(words(text)), **marks)


def measure_styles(responses: Mapping[tuple[str, str], Response]) -> Styles:
    """Return the style of each answer, by (instruction id, contestant)."""
    return {key: answer_style(response.text) for key, response in responses.items()}


def style_board(
    frame: pd.DataFrame, styles: Styles, plain: RatingResult, params: Params
) -> dict[str, Any] | None:
    """Return one judge's ratings with length and Markdown held equal.

    Args:
        frame: the judge's scored battles (`schedule.battles_frame`).
        styles: each answer's style.
        plain: their ratings; style control rates with the same parameters and resamples.
        params: the rounds and the anchor.

    Returns:
        ``ratings``, ``gain`` and ``steps`` (`standing.standing`), and ``effects``: what each style is worth, in Elo
        points for one standard deviation more of it than the other answer has, with its interval. Or None if the
        answers differ in no style on `LEAST_INSTRUCTIONS` instructions.
    """
    battles = battles_from_frame(with_styles(frame, styles))
    if not battles.sides:
        return None
    found = rate_with_style(battles, plain.params, plain)
    return {**standing(found.controlled, params), "effects": [one._asdict() for one in found.effects]}


def with_styles(frame: pd.DataFrame, styles: Styles) -> pd.DataFrame:
    """Return battles with the columns of both answers' styles, where answers differ in them on enough instructions.

    What differs on a handful of instructions says more about these than about the style.
    """
    columns: dict[str, list[int]] = {}
    own = {
        side: [styles[key] for key in zip(frame["prompt_id"], frame[f"model_{side}"], strict=True)]
        for side in "ab"
    }
    for place, name in enumerate(AnswerStyle._fields):
        values = {side: [one[place] for one in own[side]] for side in "ab"}
        both = zip(frame["prompt_id"], values["a"], values["b"], strict=True)
        if len({prompt for prompt, a, b in both if a != b}) >= LEAST_INSTRUCTIONS:
            columns |= {f"{name}_{side}": values[side] for side in "ab"}
    return frame.assign(**columns)
