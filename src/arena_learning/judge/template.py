"""Judge prompts: templates in files, filled in a sandbox with model text as data."""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files
from pathlib import Path

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from arena_learning.core import CHANNEL, END_OF_MESSAGE, MARKS, MESSAGE, ArenaError, suggest
from arena_learning.judge.base import Presentation
from arena_learning.judge.parse import Found, Scores, find_json_scores, find_scores, none_found
from arena_learning.judge.verdict_text import split_verdict

# What a template's head may say: how its verdict is written (`lines` or `json`), and that it comes last.
_HEAD = re.compile(r"\A\{#-?(.*?)-?#\}", re.DOTALL)
_VERDICT = re.compile(r"\bverdict:\s*(lines|json)(\s+last)?\b")
# Score lines in a text (`Score-A: 10`, `"Score-A": 10`): a judge that quotes them must not be read as saying them.
_SCORE_LINES = re.compile(r"""Score[ \t_-]*(?=[AB]["'`*_ \t]*[:=：＝])""", re.IGNORECASE)
_TAGS = re.compile(r"<(?=\s*/?\s*(?:conversation|reference_answer|response_[ab])\b)", re.IGNORECASE)
# What opens or closes a thought: a judge that quotes it in its own thought must not end that thought by it.
_THOUGHTS = re.compile(
    "|".join(re.escape(word) for word in (*(w for m in MARKS for w in m), CHANNEL, MESSAGE, END_OF_MESSAGE)),
    re.IGNORECASE,
)
_LOOK_ALIKE = {"<": "‹", "[": "［", "◁": "◃"}
_NO_BREAK = "\u00a0"


class JudgeTemplate:
    """A judge prompt, and how the verdict that it asks for is read.

    The comment at the head of a template may say ``verdict: lines`` (the default) or ``verdict: json``, followed by
    ``last`` where the reasons come before it: then a verdict that was cut off is none.

    Args:
        name: a shipped template's name, or a path to a ``.jinja`` file.
        root: folder that a relative path starts from.

    Raises:
        ArenaError: no such template, or it does not parse or render.
    """

    def __init__(self, name: str, root: Path) -> None:
        self.name = name
        self.source = _read(name, root)
        self.digest = hashlib.sha256(self.source.encode()).hexdigest()[:12]
        head = _HEAD.match(self.source)
        said = _VERDICT.search(head[1]) if head else None
        self.is_json, self.is_last = bool(said and said[1] == "json"), bool(said and said[2])
        # No autoescape: the prompt is plain text. A value is never parsed as a template, so braces in it stay braces.
        environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
        try:
            self._template = environment.from_string(self.source)
        except TemplateError as error:
            raise ArenaError(f"the template does not parse: {error}", where=name) from None

    def render(self, presentation: Presentation) -> str:
        """Return the prompt for ``presentation``; delimiters in what people or models wrote are neutralised."""
        instruction, first, second = presentation
        try:
            return self._template.render(
                turns=[{"role": t.role, "content": escape_delimiters(t.content)} for t in instruction.turns],
                category=instruction.category,
                reference=escape_delimiters(instruction.reference or ""),
                response_a=escape_delimiters(first.text),
                response_b=escape_delimiters(second.text),
            )
        except (
            TemplateError,
            TypeError,
            ValueError,
            ArithmeticError,
        ) as error:  # what a template's own sums raise
            raise ArenaError(f"the template does not render: {error}", where=self.name) from None

    def read(self, text: str, *, cut_off: bool = False) -> Scores:
        """Return the scores in what a judge wrote by this prompt; ``cut_off``: it ran out of tokens."""
        return self.find(text, cut_off=cut_off).scores

    def find(self, text: str, *, cut_off: bool = False) -> Found:
        """Return the scores as `read` does, and where they stand: behind the last thought, never in one."""
        said = split_verdict(text, cut_off=cut_off)
        if not said.ended:
            return none_found("cut off in its thought" if cut_off else "its thought never ended")
        if cut_off and self.is_last:
            return none_found("cut off before the verdict")
        if said.thought and not said.text.strip():
            return none_found("no verdict behind its thought")
        found = find_json_scores(said.readable) if self.is_json else find_scores(said.readable)
        if found.places is None:
            return found
        return found._replace(places=(found.places[0] + said.begin, found.places[1] + said.begin))


def escape_delimiters(text: str) -> str:
    """Break what looks like one of the prompt's tags, a verdict's score or a mark of thought.

    It reads the same, and is none: a tag and a mark lose their first character to a look-alike, ``Score-A:`` becomes
    ``Score·A:``.
    """
    return _SCORE_LINES.sub("Score·", _TAGS.sub("‹", break_marks(text)))


def break_marks(text: str) -> str:
    """Break what opens or closes a thought, so that it reads the same and is no mark.

    Where a family marks its thoughts by words, their first space becomes one that does not break.
    """
    return _THOUGHTS.sub(lambda found: _broken(found[0]), text)


def _broken(mark: str) -> str:
    if mark[0] in _LOOK_ALIKE:
        return _LOOK_ALIKE[mark[0]] + mark[1:]
    return mark.replace(" ", _NO_BREAK, 1)


def shipped_templates() -> list[str]:
    """Return the names of the templates that come with the package."""
    folder = files("arena_learning.judge") / "prompts"
    return sorted(f.name.removesuffix(".jinja") for f in folder.iterdir() if f.name.endswith(".jinja"))


def _read(name: str, root: Path) -> str:
    if name.endswith(".jinja"):
        path = (root / name).resolve()
        if not path.is_relative_to(root.resolve()):
            raise ArenaError(
                "the template lies outside the project", where=name, hint="copy it into the project"
            )
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ArenaError(f"the template cannot be read: {error}", where=name) from None
    if name not in shipped_templates():
        raise ArenaError(
            f"no template '{name}'", where="params.yaml, judges", hint=suggest(name, shipped_templates())
        )
    return (files("arena_learning.judge") / "prompts" / f"{name}.jinja").read_text(encoding="utf-8")
