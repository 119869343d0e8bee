"""Judge prompts: templates in files, filled in a sandbox with model text as data."""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files
from pathlib import Path

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from arena_learning.errors import ArenaError, suggest
from arena_learning.judge.base import Presentation

_TAGS = re.compile(r"<(?=\s*/?\s*(?:conversation|reference_answer|response_[ab])\b)", re.IGNORECASE)


class JudgeTemplate:
    """A judge prompt.

    Args:
        name: a shipped template's name, or a path to a ``.jinja`` file.
        root: folder that a relative path starts from.

    Raises:
        ArenaError: no such template, or it does not parse or render.
    """

    def __init__(self, name: str, root: Path) -> None:
        self.name = name
        self._source = _read(name, root)
        self.digest = hashlib.sha256(self._source.encode()).hexdigest()[:12]
        # No autoescape: the prompt is plain text. A value is never parsed as a template, so braces in it stay braces.
        environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
        try:
            self._template = environment.from_string(self._source)
        except TemplateError as error:
            raise ArenaError(f"the template does not parse: {error}", where=name) from None

    def render(self, presentation: Presentation) -> str:
        """Return the prompt for ``presentation``; delimiters in what people or models wrote are neutralised."""
        instruction, first, second = presentation
        try:
            return self._template.render(
                turns=[{"role": t.role, "content": neutralise(t.content)} for t in instruction.turns],
                category=instruction.category,
                reference=neutralise(instruction.reference or ""),
                response_a=neutralise(first.text),
                response_b=neutralise(second.text),
            )
        except (TemplateError, TypeError, ValueError, ArithmeticError) as error:  # what a template's own sums raise
            raise ArenaError(f"the template does not render: {error}", where=self.name) from None


def neutralise(text: str) -> str:
    """Replace the opening bracket of anything that looks like one of the prompt's tags by a look-alike."""
    return _TAGS.sub("‹", text)


def shipped_templates() -> list[str]:
    """Return the names of the templates that come with the package."""
    folder = files("arena_learning.judge") / "prompts"
    return sorted(f.name.removesuffix(".jinja") for f in folder.iterdir() if f.name.endswith(".jinja"))


def _read(name: str, root: Path) -> str:
    if name.endswith(".jinja"):
        path = (root / name).resolve()
        if not path.is_relative_to(root.resolve()):
            raise ArenaError("the template lies outside the project", where=name, mend="copy it into the project")
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ArenaError(f"the template cannot be read: {error}", where=name) from None
    if name not in shipped_templates():
        raise ArenaError(f"no template '{name}'", where="params.yaml, judges", mend=suggest(name, shipped_templates()))
    return (files("arena_learning.judge") / "prompts" / f"{name}.jinja").read_text(encoding="utf-8")
