"""Renders messages to text with a chat template, using the variables and the date from the parameters."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from functools import cached_property
from typing import Any

from arena_learning.core import ArenaError
from arena_learning.engines.tokenizer import TEMPLATE_DATE, ChatSettings

CLOCK = "strftime_now"  # the function that templates call for the date
_MARK = re.compile(r"<\|[^|<>\s]{1,40}\|>|\[/?[A-Z][A-Z_]+\]|<</?[A-Z]+>>|\[\|[a-z_]+\|\]")
_ASKED = {"role": "user", "content": "Hello"}

# Jinja text that defines the clock for the template behind it. It reads a form like strftime does: a code is "%", at
# most one flag and a letter; an unknown code stays as it is. It prints nothing itself, and its last newline, which
# chat templates lose behind a block, leaves the template behind it at the start of a line.
_FLAGS = "-_0^#EO"
_FIXED_CLOCK = """\
{% macro CLOCK(format) %}{% set codes = CODES %}{% set open = namespace(code='') %}
{%- for sign in format -%}
{%- if not open.code and sign != '%' -%}{{ sign }}
{%- else -%}{%- set open.code = open.code ~ sign -%}
{%- if open.code in codes -%}{{ codes[open.code] }}{%- set open.code = '' -%}
{%- elif open.code | length > 2 or (open.code | length == 2 and sign not in 'FLAGS') -%}
{{ open.code }}{%- set open.code = '' -%}
{%- endif -%}{%- endif -%}{%- endfor -%}{{ open.code }}{% endmacro %}
"""


class Renderer:
    """Renders messages with one chat template.

    Args:
        tokenizer: the model's tokenizer, whose special tokens templates refer to by name.
        template: text of the template.
        settings: variables and date of the template.
        where: the model's folder, for errors.
    """

    def __init__(self, tokenizer: Any, template: str, settings: ChatSettings, where: str) -> None:
        self._tokenizer, self._template, self._settings, self._where = tokenizer, template, settings, where

    @property
    def dated(self) -> list[str]:
        """The date that the template prints; an empty list if it prints none."""
        return [self._settings.date or TEMPLATE_DATE] if CLOCK in self._template else []

    def render(self, messages: Sequence[Mapping[str, str]], add_generation_prompt: bool) -> str:
        """Return messages as rendered by the template.

        Raises:
            ArenaError: the template does not accept them.
        """
        if self._reads_parts:
            return self._apply(map(_in_parts, messages), add_generation_prompt)
        return self._apply(messages, add_generation_prompt)

    @cached_property
    def _reads_parts(self) -> bool:
        """Whether the template reads text only from a list of parts, like some that accept images."""
        for message, found in ((_ASKED, False), (_in_parts(_ASKED), True)):
            try:
                if _ASKED["content"] in self._apply([message], add_generation_prompt=True):
                    return found
            except ArenaError:
                continue
        return False

    @cached_property
    def marks(self) -> set[str]:
        """Marks that the template writes around turns; in some model families they are not tokens."""
        system = {"role": "system", "content": "Brief."}
        told = [_ASKED, {"role": "assistant", "content": "Goodbye"}, _ASKED]
        found: set[str] = set()
        for messages in (told[:1], told, [system, *told]):
            try:
                found.update(_MARK.findall(self.render(messages, add_generation_prompt=True)))
            except ArenaError:
                continue
        return found

    def _apply(self, given: Iterable[Mapping[str, Any]], add_generation_prompt: bool) -> str:
        from jinja2 import TemplateError

        messages = list(given)
        try:
            text: str = self._tokenizer.apply_chat_template(
                messages,
                chat_template=self._timed,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                **self._settings.kwargs,
            )
        except (TemplateError, TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
            roles = ", ".join(message["role"] for message in messages)
            raise ArenaError(
                f"the chat template refuses turns of {roles}: {error}",
                where=self._where,
                hint="some models accept no system prompt: remove it, or set chat_template to a template that does",
            ) from None
        return text

    @cached_property
    def _timed(self) -> str:
        """The template, with its clock stopped at the date where it prints one.

        transformers has no argument for the clock: it gives templates today's date, and from 5.24 on turns functions
        among a template's variables into text. A definition in the template itself comes before both.
        """
        return "".join(map(fixed_clock, self.dated)) + self._template


def fixed_clock(day: str) -> str:
    """Return Jinja text that defines `CLOCK` for the template behind it, stopped at midnight of ``day``.

    Args:
        day: the date, as YYYY-MM-DD.
    """
    then = date.fromisoformat(day)
    letters = sorted({*string.ascii_letters, "%"} - set(_FLAGS))
    codes = [f"%{flag}{letter}" for flag in ("", *_FLAGS) for letter in letters]
    table = json.dumps({code: then.strftime(code) for code in codes})
    return _FIXED_CLOCK.replace("CLOCK", CLOCK).replace("FLAGS", _FLAGS).replace("CODES", table)


def _in_parts(message: Mapping[str, str]) -> dict[str, Any]:
    return {**message, "content": [{"type": "text", "text": message["content"]}]}
