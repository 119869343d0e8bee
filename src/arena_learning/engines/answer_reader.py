"""Splits generated tokens into thought and answer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

from arena_learning.core import (
    CHANNEL,
    END_OF_MESSAGE,
    FINAL,
    MARKS,
    MESSAGE,
    Marks,
    SplitAnswer,
    bare_channel,
    split_text,
    unwrap,
)

_THOUGHT_FIELDS = (
    "thinking",
    "reasoning_content",
    "reasoning",
    "thought",
)  # of a tokenizer's response template (transformers' `parse_response`)


class ReadAnswer(NamedTuple):
    """A model's output, split into thought and answer, with the number of tokens in the thought."""

    thought: str
    text: str
    thought_tokens: int


def split_said(text: str, *, opened: bool, marks: Sequence[Marks], harmony: bool) -> SplitAnswer:
    """Split an answer that is available only as text.

    Args:
        text: the answer, with its thought if there is one.
        opened: whether the prompt ended inside a thought.
        marks: marks of the model's thoughts.
        harmony: whether the model writes messages in channels.
    """
    if not marks and not harmony:
        return SplitAnswer("", text)
    return split_text(text, opened=opened, marks=marks)


class AnswerReader:
    """Splits the output of one model.

    Args:
        tokenizer: the model's tokenizer.
        template: text of its chat template.
        controls: ids of its control tokens (`tokenizer.control_tokens`).
    """

    def __init__(self, tokenizer: Any, template: str, controls: dict[str, int]) -> None:
        self._tokenizer, self._template, self._controls = tokenizer, template, controls

    @cached_property
    def marks(self) -> tuple[Marks, ...]:
        """Marks of the model's thoughts: those that are control tokens or occur in its chat template."""
        return tuple(
            mark
            for mark in MARKS
            if (mark.open in self._controls and mark.close in self._controls)
            or mark.close in self._template
            or mark.open in self._template
        )

    @property
    def harmony(self) -> bool:
        """Whether the model writes messages in channels (gpt-oss's Harmony format)."""
        return CHANNEL in self._controls and MESSAGE in self._controls

    @cached_property
    def unmarked_before(self) -> bool:
        """Whether earlier versions stored thoughts without their marks, because the marks are special tokens."""
        marked = {self._controls.get(word) for mark in self.marks for word in mark} - {None}
        added = self._tokenizer.added_tokens_decoder
        return self.harmony or any(added[index].special for index in marked if index in added)

    def opens(self, end: str) -> bool:
        """Whether ``end``, the text of a prompt after the user's message, opens a thought without closing it."""
        if self.harmony and CHANNEL in end:
            return FINAL not in end
        return any(end.rfind(mark.open) > end.rfind(mark.close) for mark in self.marks)

    def read(self, ids: Sequence[int], prompt: str, *, opened: bool) -> ReadAnswer:
        """Return the thought and the answer in generated tokens.

        A tokenizer with its own ``response_template`` parses the output itself. Otherwise marks that are tokens are
        found by id, before special tokens are removed, and other marks are found in the text.

        Args:
            ids: the generated tokens, without the token that ended the answer.
            prompt: text of a prompt, whose end may belong to the output's format.
            opened: whether the prompt ends inside a thought.
        """
        told = self._told(ids, prompt)
        if told is not None:
            return told
        parts = self._parts(ids, opened)
        if parts is None:
            text = self.decode(ids)
            said = self.said(text, opened=opened)
            return ReadAnswer(said.thought, said.text, self._count(ids, text, said))
        thought, answer, start = parts
        if start == 0:
            return ReadAnswer("", self.decode(answer), 0)
        return ReadAnswer(bare_channel(self.decode(thought)), unwrap(self.decode(answer)), start)

    def said(self, text: str, *, opened: bool) -> SplitAnswer:
        """Split an answer that is available only as text."""
        return split_said(text, opened=opened, marks=self.marks, harmony=self.harmony)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of tokens, without special tokens."""
        text: str = self._tokenizer.decode(
            list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def _told(self, ids: Sequence[int], prompt: str) -> ReadAnswer | None:
        """Return the output as parsed by the tokenizer's response template; None without one that knows thoughts."""
        template = getattr(self._tokenizer, "response_template", None)
        fields = template.get("fields", {}) if isinstance(template, dict) else {}
        name = next((field for field in _THOUGHT_FIELDS if field in fields), None)
        if name is None or "content" not in fields:
            return None
        try:
            message = self._tokenizer.parse_response(list(ids), prefix=prompt)
        except ValueError:  # a field is missing: the answer was truncated, or has another format
            return None
        thought, text = message.get(name) or "", message.get("content") or ""
        if not (isinstance(thought, str) and isinstance(text, str)):
            return None
        answer = self._tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
        return ReadAnswer(
            thought.strip(),
            text.strip() if thought else text,
            max(0, len(ids) - len(answer)) if thought else 0,
        )

    def _parts(self, ids: Sequence[int], opened: bool) -> tuple[list[int], list[int], int] | None:
        """Return the ids of thought and answer, and the answer's start; None if the marks are not tokens."""
        if self.harmony:
            return self._channels(ids, opened)
        pairs = [m for m in self.marks if m.open in self._controls and m.close in self._controls]
        if not pairs:
            return None
        opens, closes = ({self._controls[pair[side]] for pair in pairs} for side in (0, 1))
        begin = max((n for n, token in enumerate(ids) if token in opens), default=-1)
        end = max((n for n, token in enumerate(ids) if token in closes), default=-1)
        start = len(ids) if begin > end or (opened and end < 0) else end + 1
        return [token for token in ids[:start] if token not in opens | closes], list(ids[start:]), start

    def _channels(self, ids: Sequence[int], opened: bool) -> tuple[list[int], list[int], int]:
        """Split by messages: the last one in the final channel is the answer, all others are the thought."""
        channel, message, end = (self._controls.get(word) for word in (CHANNEL, MESSAGE, END_OF_MESSAGE))
        heads = [n for n, token in enumerate(ids) if token == channel]
        if not heads:
            return (list(ids), [], len(ids)) if opened else ([], list(ids), 0)
        thought = list(ids[: heads[0]]) if opened else []
        answer: list[int] = []
        start = len(ids)
        for head, following in zip(heads, [*heads[1:], len(ids)], strict=True):
            body = next((n + 1 for n in range(head, following) if ids[n] == message), following)
            until = next((n for n in range(body, following) if ids[n] == end), following)
            if self.decode(ids[head + 1 : body]).strip().startswith(FINAL):
                thought += answer
                answer, start = list(ids[body:until]), body
            else:
                thought += ids[body:until]
                start = start if answer else len(ids)
        return thought, answer, start

    def _count(self, ids: Sequence[int], text: str, said: SplitAnswer) -> int:
        """Return the number of tokens in a thought that was found in the text: all tokens minus the answer's."""
        if said.text == text:
            return 0
        answer = self._tokenizer(said.text, add_special_tokens=False)["input_ids"] if said.text else []
        return max(0, len(ids) - len(answer))
