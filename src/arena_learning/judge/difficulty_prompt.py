"""The prompt that asks a model for an instruction's difficulty, and how its reply is read."""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from arena_learning.core import ArenaError, suggest
from arena_learning.judge.number import is_changed, plain_number, quoted, read_value
from arena_learning.judge.template import escape_delimiters, read_own_template
from arena_learning.judge.verdict_text import split_verdict
from arena_learning.schema import Instruction, Turn

TEMPLATE = "difficulty"  # the shipped one
_LINE = re.compile(r"^[ \t*_#>|•`-]*Difficulty[ \t*_`]*[:=：＝][ \t*_]*(.*)$", re.IGNORECASE | re.MULTILINE)
# Where the conversation itself has such a line, a quotation of it must not count as the rating.
_OWN = re.compile(r"Difficulty(?=[\"'`*_ \t]*[:=：＝])", re.IGNORECASE)
_LEAST, _MOST = 0, 10


class DifficultyRating(NamedTuple):
    """A difficulty from 0 to 10, or the problem why there is none; ``refused``: there was no reply at all."""

    difficulty: float | None
    problem: str = ""
    refused: bool = False


def read_difficulty(text: str, *, cut_off: bool = False) -> DifficultyRating:
    """Return the difficulty in a model's reply: the last line ``Difficulty: <number>`` after its thought.

    Anything else than one plain number from 0 to 10 is no rating: ``6-7``, ``high``, ``12``.

    Args:
        text: the reply.
        cut_off: whether it ran out of tokens.

    Example:
        >>> read_difficulty("Difficulty: 7/10\\nReason: three steps.").difficulty
        7.0
        >>> read_difficulty("Difficulty: 6 or 7").problem
        "no plain number in 'Difficulty: 6 or 7'"
    """
    said = split_verdict(text, cut_off=cut_off)
    if not said.ended:
        return DifficultyRating(None, "cut off in its thought" if cut_off else "its thought never ended")
    lines = list(_LINE.finditer(said.readable))
    if not lines:
        return DifficultyRating(None, "no line 'Difficulty'" if said.text.strip() else "an empty reply")
    last = lines[-1]
    line = plain_number(last[1])
    value = read_value(line)
    if cut_off and last.end() == len(said.readable):
        return DifficultyRating(None, "cut off in the number's line")
    if value.score is None or is_changed(line[value.end :].rstrip()):
        return DifficultyRating(None, f"no plain number in {quoted(last[0])}")
    if not _LEAST <= value.score <= _MOST:
        return DifficultyRating(None, f"a difficulty outside {_LEAST} to {_MOST}")
    return DifficultyRating(value.score)


class DifficultyTemplate:
    """The prompt that asks for a difficulty.

    Args:
        name: ``difficulty`` for the shipped one, or a path to a ``.jinja`` file.
        root: the folder that a relative path starts from.

    Raises:
        ArenaError: no such template, or it does not parse or render.
    """

    def __init__(self, name: str, root: Path) -> None:
        self.name = name
        source = _read(name, root)
        self.digest = hashlib.sha256(source.encode()).hexdigest()[:12]
        environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
        try:
            self._template = environment.from_string(source)
        except TemplateError as error:
            raise ArenaError(f"the template does not parse: {error}", where=name) from None

    def prompt(self, instruction: Instruction) -> Instruction:
        """Return the question about an instruction, under its id; what could end the prompt is neutralised."""
        turns = [{"role": turn.role, "content": _harmless(turn.content)} for turn in instruction.turns]
        try:
            text = self._template.render(turns=turns, category=instruction.category)
        except (TemplateError, TypeError, ValueError, ArithmeticError) as error:
            raise ArenaError(f"the template does not render: {error}", where=self.name) from None
        return Instruction(id=instruction.id, turns=(Turn(role="user", content=text),))


def _harmless(text: str) -> str:
    return _OWN.sub("Difficulty·", escape_delimiters(text))


def _read(name: str, root: Path) -> str:
    if name == TEMPLATE:
        return (files("arena_learning.judge") / "difficulty.jinja").read_text(encoding="utf-8")
    if not name.endswith(".jinja"):
        raise ArenaError(
            f"no template '{name}'",
            where="params.yaml, pool.difficulty_template",
            hint=suggest(name, [TEMPLATE]),
        )
    return read_own_template(name, root)
