"""Penalties that lower a score whatever the response covers: loops, pasted rubrics, echoes, words out of order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from arena_learning.core import words
from arena_learning.judge.text_quality import drawn_share, function_word_share, jumble, overlap, repetition
from arena_learning.schema import Criterion, Instruction, Response

_STRUCTURED = ("json", "table", "code", "bullets", "numbered", "lines")
_FIELD_NAMES = "kind any weight value tolerance length format form min max keys text note"


class Penalty(NamedTuple):
    """A factor from 0 to 1 on the score, and its reason."""

    factor: float
    what: str


def find_penalties(
    instruction: Instruction, response: Response, criteria: Sequence[Criterion]
) -> list[Penalty]:
    """Return the response's penalties (the judge adds the one for truncation).

    There is no penalty for what the reference answer does too: some answers must repeat the question or the rubric.
    """
    text, reference = response.text, instruction.reference or ""
    return [
        *_loops(text),
        *_too_short(text, criteria),
        *_no_prose(text, reference, criteria, instruction.language),
        *_pasted(text, reference, criteria),
        *_echo(text, reference, instruction),
    ]


def _loops(text: str) -> Iterator[Penalty]:
    loops = repetition(text)
    if loops > 0.2:
        yield Penalty(max(0.2, 1.0 - loops), f"repeats itself ({loops:.0%})")


def _too_short(text: str, criteria: Sequence[Criterion]) -> Iterator[Penalty]:
    low = next((p.min for p in criteria if p.kind == "length" and p.min), 0)
    count = len(words(text))
    if count < low / 2:
        yield Penalty(0.5, f"only {count} words where {low} are the least")


def _no_prose(text: str, reference: str, criteria: Sequence[Criterion], language: str) -> Iterator[Penalty]:
    if "```" in text:
        return
    if jumble(text) > 0.1:
        yield Penalty(0.2, "its words stand in no order")
    if any(p.kind == "format" and p.form in _STRUCTURED for p in criteria):
        return
    count, share = len(words(text)), function_word_share(text)
    english = 0.4 if language.lower().split("-")[0] == "en" else 0.0  # the share that an answer ought to have
    normal = function_word_share(reference) if reference else english
    if (count >= 4 and normal > 0.3 and share < 0.18) or (count >= 8 and normal > 0.15 and share < 0.03):
        yield Penalty(0.3, "reads as a list of keywords or another language")


def _pasted(text: str, reference: str, criteria: Sequence[Criterion]) -> Iterator[Penalty]:
    sources = [p.text for p in criteria] + [" ".join(p.any) for p in criteria]
    runs = overlap(text, sources) > max(0.5, overlap(reference, sources) + 0.2)
    figures = [f"{p.value:g} {p.weight:g} {p.kind} {p.form} {' '.join(p.keys)}" for p in criteria]
    whole = " ".join([*sources, *figures, _FIELD_NAMES])
    if runs or drawn_share(text, whole) > max(0.75, drawn_share(reference, whole) + 0.25):
        yield Penalty(0.2, "pastes the rubric")


def _echo(text: str, reference: str, instruction: Instruction) -> Iterator[Penalty]:
    asked = [turn.content for turn in instruction.turns]
    echoed = overlap(text, asked)
    if echoed > max(0.5, overlap(reference, asked) + 0.2):
        yield Penalty(0.3, f"echoes the conversation ({echoed:.0%})")
