"""Judge prompts: Jinja templates, rendered in a sandbox with model text as data only."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from arena_learning.core import CHANNEL, END_OF_MESSAGE, MARKS, MESSAGE, ArenaError, suggest
from arena_learning.judge.base import Presentation
from arena_learning.judge.parse import Found, Scores, find_json_scores, find_scores, none_found
from arena_learning.judge.verdict_text import split_verdict

# A template's head may state the verdict's form (`lines` or `json`) and that the verdict comes last.
_HEAD = re.compile(r"\A\{#-?(.*?)-?#\}", re.DOTALL)
_VERDICT = re.compile(r"\bverdict:\s*(lines|json)(\s+last)?\b")
# Score lines in a text (`Score-A: 10`, `"Score-A": 10`): where a judge quotes one, it must not count as its verdict.
_SCORE_LINES = re.compile(r"""Score[ \t_-]*(?=[AB]["'`*_ \t]*[:=：＝])""", re.IGNORECASE)
_TAGS = re.compile(r"<(?=\s*/?\s*(?:conversation|reference_answer|response_[ab])\b)", re.IGNORECASE)
# Marks of thoughts: where a judge quotes one in its own thought, it must not end that thought.
_THOUGHTS = re.compile(
    "|".join(re.escape(word) for word in (*(w for m in MARKS for w in m), CHANNEL, MESSAGE, END_OF_MESSAGE)),
    re.IGNORECASE,
)
_LOOK_ALIKE = {"<": "‹", "[": "［", "◁": "◃"}
_NO_BREAK = "\u00a0"


class JudgeTemplate:
    """A judge prompt, and how its verdict is read.

    The comment at the head of a template may say ``verdict: lines`` (the default) or ``verdict: json``, followed by
    ``last`` if the explanation comes before the scores: then a reply that was cut off has no verdict.

    Args:
        name: a shipped template's name, or a path to a ``.jinja`` file.
        root: the folder that a relative path starts from.

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
        # No autoescape: the prompt is plain text. Values are never parsed as templates: their braces stay braces.
        environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
        try:
            self._template = environment.from_string(self.source)
        except TemplateError as error:
            raise ArenaError(f"the template does not parse: {error}", where=name) from None

    def render(self, presentation: Presentation) -> str:
        """Return the prompt for ``presentation``; delimiters in texts of people or models are neutralised."""
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
        ) as error:  # raised by expressions in a template
            raise ArenaError(f"the template does not render: {error}", where=self.name) from None

    def read(self, text: str, *, cut_off: bool = False) -> Scores:
        """Return the scores in a reply to this prompt; ``cut_off``: the reply ran out of tokens."""
        return self.find(text, cut_off=cut_off).scores

    def find(self, text: str, *, cut_off: bool = False) -> Found:
        """Return the scores as `read` does, with their indices; only the text after the last thought counts."""
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


# A judge is shown an answer in many games, one soon after the other: its marks are looked for once.
@lru_cache(maxsize=256)
def escape_delimiters(text: str) -> str:
    """Break prompt tags, score lines and thought marks in ``text`` so that they look the same but have no effect.

    A tag or mark's first character is replaced by a look-alike; ``Score-A:`` becomes ``Score·A:``.
    """
    return _SCORE_LINES.sub("Score·", _TAGS.sub("‹", break_marks(text)))


@lru_cache(maxsize=256)
def break_marks(text: str) -> str:
    """Break the marks that open or close a thought, so that they look the same but have no effect.

    In marks that are words, the first space becomes a no-break space.
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


def read_own_template(name: str, root: Path) -> str:
    """Return the text of a user's template, a path below ``root``.

    Raises:
        ArenaError: the file lies outside of ``root``, is missing or cannot be read.
    """
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()):
        raise ArenaError("the template lies outside the project", where=name, hint="copy it into the project")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ArenaError(f"the template cannot be read: {error}", where=name) from None


def _read(name: str, root: Path) -> str:
    if name.endswith(".jinja"):
        return read_own_template(name, root)
    if name not in shipped_templates():
        raise ArenaError(
            f"no template '{name}'", where="params.yaml, judges", hint=suggest(name, shipped_templates())
        )
    return (files("arena_learning.judge") / "prompts" / f"{name}.jinja").read_text(encoding="utf-8")
