"""Makes the training tokens of an assistant turn: what the template writes after the served prompt.

The turn's text is taken from one short conversation, because it is the same after any prompt. So it does not matter if
the template changes earlier turns (removes their thoughts, moves a system turn).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from itertools import takewhile
from typing import NamedTuple

from arena_learning.core import ArenaError, Marks
from arena_learning.engines.chat import GOODBYE, HELLO, Chat
from arena_learning.schema import Turn

ASKED = (Turn(role="user", content=HELLO),)
# Answers that must decode to themselves.
PLAIN = ("Blue.", "Green grass grows.", "7 of them")


class ThinkingSwitch(NamedTuple):
    """A template variable that turns thoughts on and off."""

    name: str
    off: bool | str
    on: bool | str


SWITCHES = (
    ThinkingSwitch("enable_thinking", False, True),
    ThinkingSwitch("thinking", False, True),
    ThinkingSwitch("reasoning", False, True),
    ThinkingSwitch("reasoning_effort", "none", "high"),
    ThinkingSwitch("thinking_mode", "disabled", "enabled"),
)


class LearntTurn(NamedTuple):
    """Token ids of an assistant turn: ``preamble`` has no loss, ``answer`` includes the end of turn."""

    preamble: list[int]
    answer: list[int]


class ChatFormat:
    """Makes the training tokens of a model's assistant turns.

    Args:
        chat: the model's tokenizer and template, as they are used for serving.

    Example::

        turn = ChatFormat(Chat(Path("models/base"))).learn("Blue.")
        ids, labels = turn.preamble + turn.answer, [-100] * len(turn.preamble) + turn.answer
    """

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self._prompt = chat.render(ASKED)
        self._prompt_ids = chat.tokens(self._prompt)

    def learn(self, answer: str) -> LearntTurn | None:
        """Return the training tokens of an answer; None if the template does not write it after the prompt.

        Control tokens in the answer are broken, as in any turn. If the template puts white space around an answer, the
        answer's own is removed; otherwise each round would add more of it.
        """
        text = self._turn_text(self._bare(answer))
        rest = None if text is None else self._behind_preamble(text)
        if rest is None:
            return None
        stops = set(self.chat.stop_ids)
        end = next((place for place, token in enumerate(rest) if token in stops), None)
        if end is not None:
            return LearntTurn(self.preamble_ids, rest[: end + 1])
        # Some templates end a turn only if another one follows.
        return (
            None
            if self.chat.end_of_turn is None
            else LearntTurn(self.preamble_ids, [*rest, self.chat.end_of_turn])
        )

    def _behind_preamble(self, text: str) -> list[int] | None:
        """Return the ids of a turn's text without the preamble; None if it does not begin with the preamble."""
        ids = self._behind(self._prompt, text)
        if ids[: len(self.preamble_ids)] == self.preamble_ids:
            return ids[len(self.preamble_ids) :]
        # A tokenizer may merge the end of the preamble and the start of the answer into one token.
        if not text.startswith(self.preamble):
            return None
        return self._behind(self._prompt + self.preamble, text[len(self.preamble) :])

    def _bare(self, answer: str) -> str:
        before, after = self._around
        answer = answer.lstrip() if before != before.rstrip() else answer
        return answer.rstrip() if after != after.lstrip() else answer

    @cached_property
    def _around(self) -> tuple[str, str]:
        """The template's text before and after an answer."""
        before, _, after = (self._turn_text(GOODBYE) or "").partition(GOODBYE)
        return before, after

    def has_control(self, answer: str) -> bool:
        """Whether an answer contains a control token or thought mark, so that it would be changed."""
        return any(word in answer for word in self.chat.words)

    @cached_property
    def preamble(self) -> str:
        """Text between prompt and answer that has no loss, such as an empty thought."""
        text: str = self.chat.tokenizer.decode(self.preamble_ids)
        written = self._around[0].rstrip(" ")
        # Some tokenizers add spaces after decoded tokens.
        return written if written.replace(" ", "") == text.replace(" ", "") else text

    @cached_property
    def preamble_ids(self) -> list[int]:
        """The ids that the turns of different answers have in common before the answer.

        Spaces at the end are excluded, because they may merge with the answer's first word into one token.
        """
        turns = [ids for answer in PLAIN if (ids := self._turn(answer)) is not None]
        common = _common(turns) if len(turns) == len(PLAIN) else []
        while common and not self.chat.tokenizer.decode(common[-1:]).strip(" "):
            common.pop()
        return common

    def _turn(self, answer: str) -> list[int] | None:
        """Return the ids after the prompt: preamble, answer, and the template's text after the answer."""
        text = self._turn_text(answer)
        return None if text is None else self._behind(self._prompt, text)

    def _turn_text(self, answer: str) -> str | None:
        whole = self.chat.render_whole([*ASKED, Turn(role="assistant", content=answer)])
        if not whole.startswith(self._prompt):
            return self._behind_thought(whole)
        return self._added + whole[len(self._prompt) :]

    def _behind(self, before: str, text: str) -> list[int]:
        """Return the ids of ``text`` when it follows ``before``.

        Some tokenizers add a space in front of their input, so a text alone has other ids than after a prompt. If a
        token spans the boundary, the text is tokenized after a line break, or as a last resort alone.
        """
        for start in (before, "\n"):
            first, ids = self.chat.tokens(start), self.chat.tokens(start + text)
            if ids[: len(first)] == first:
                return ids[len(first) :]
        return self.chat.tokens(text)

    def _behind_thought(self, whole: str) -> str | None:
        """Return the turn's text if prompt and conversation differ only in an empty or opened thought, else None.

        Templates of reasoning models open a thought or write an empty one in the prompt, but leave it out of a finished
        conversation or write it differently.
        """
        head, _, end = self._prompt.rpartition(HELLO)
        head += HELLO
        for mark in self._marks:
            end = _without_thought(end, mark)
        end = end.rstrip()
        if not whole.startswith(head + end):
            return None
        rest = whole[len(head + end) :].lstrip()
        for mark in self._marks:
            own = re.match(rf"(?:{re.escape(mark.open)}\s*)?({re.escape(mark.close)}\s*)", rest)
            if own:  # the template's own empty thought, whose start is in the prompt
                return rest[own.start(1) if self.chat.opens_thought else own.end() :]
        return self._closing + rest if self.chat.opens_thought else rest

    @property
    def _marks(self) -> tuple[Marks, ...]:
        return self.chat.reader.marks

    @property
    def _closing(self) -> str:
        """The end of an empty thought that the prompt has opened; the template's own, if it has a switch for it."""
        end = self._prompt.rpartition(HELLO)[2]
        off = thinking_off(self.chat)
        if off is not None and not off.opens_thought:
            without = off.render(ASKED).rpartition(HELLO)[2]
            if without.startswith(end) and without != end:
                return without[len(end) :]
        mark = max(self._marks, key=lambda mark: end.rfind(mark.open))
        return f"{'' if end.endswith(chr(10)) else chr(10)}\n{mark.close}\n\n"

    @cached_property
    def _added(self) -> str:
        """Text to add before an answer if the template leaves no place for a thought between prompt and answer.

        If the prompt asks for a thought, this is an empty one; otherwise the model would learn to ignore that. If the
        prompt opens a thought, this is its end; otherwise answers would be trained on as thoughts.
        """
        whole = self.chat.render_whole([*ASKED, Turn(role="assistant", content=GOODBYE)])
        if not self._marks or not whole.startswith(self._prompt):
            return ""
        if any(mark.close in whole[len(self._prompt) :] for mark in self._marks):
            return ""
        if self.chat.opens_thought:
            return self._closing
        off = thinking_off(self.chat)
        if off is not None:
            return self._thought_when_off(off)
        told, _, end = self._prompt.partition(HELLO)
        if any(mark.close in end for mark in self._marks):  # the prompt already contains an empty thought
            return ""
        mark = next((m for m in self._marks if m.open in told and m.open in self.chat.controls), None)
        return f"{mark.open}{mark.close}" if mark else ""

    def _thought_when_off(self, off: Chat) -> str:
        """Return the text that the template adds to the prompt when thoughts are turned off."""
        with_it, without = (chat.render(ASKED).rpartition(HELLO)[2] for chat in (off, self.chat))
        if with_it.startswith(without) and with_it != without:
            return with_it[len(without) :]
        mark = self._marks[0]
        return f"{mark.open}\n\n{mark.close}\n\n"


def thinking_off(chat: Chat) -> Chat | None:
    """Return the same model with thoughts turned off; None unless its template has a switch for it that is on."""
    for switch in SWITCHES:
        given = chat.settings.kwargs.get(switch.name, switch.on)
        if given == switch.off or not re.search(rf"\b{switch.name}\b", chat.template):
            continue
        other = chat.used_with({switch.name: switch.off})
        try:
            off, on = other.render(ASKED), chat.render(ASKED)
        except ArenaError:
            continue
        if switch.off is not False:  # the value may only be printed in the system prompt
            off, on = off.rpartition(HELLO)[2], on.rpartition(HELLO)[2]
        if off != on:
            return other
    return None


def _without_thought(end: str, mark: Marks) -> str:
    """Return a prompt's end without the template's own thought, which is usually empty or left open."""
    opened, closed = re.escape(mark.open), re.escape(mark.close)
    end = re.sub(rf"{opened}.*?{closed}", "", end, flags=re.DOTALL)
    return re.sub(rf"{opened}\s*(?:thought|analysis)?\s*\Z|{closed}\s*\Z", "", end)


def _common(rows: Sequence[list[int]]) -> list[int]:
    """Return the common prefix of all rows."""
    same = (len(set(column)) == 1 for column in zip(*rows, strict=False))
    return rows[0][: sum(takewhile(bool, same))]
