"""Renders messages to text with a chat template, using the variables and the date from the parameters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from functools import cached_property
from typing import Any

from arena_learning.core import ArenaError
from arena_learning.engines.tokenizer import TEMPLATE_DATE, ChatSettings

CLOCK = "strftime_now"  # the function that templates call for the date
_MARK = re.compile(r"<\|[^|<>\s]{1,40}\|>|\[/?[A-Z][A-Z_]+\]|<</?[A-Z]+>>|\[\|[a-z_]+\|\]")
_ASKED = {"role": "user", "content": "Hello"}


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
        clock = {CLOCK: self._clock} if self.dated else {}
        try:
            text: str = self._tokenizer.apply_chat_template(
                messages,
                chat_template=self._template,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                **clock,
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

    def _clock(self, form: str) -> str:
        return date.fromisoformat(self.dated[0]).strftime(form)


def _in_parts(message: Mapping[str, str]) -> dict[str, Any]:
    return {**message, "content": [{"type": "text", "text": message["content"]}]}
