"""How an assistant's turn is learnt: what a template writes of it behind the prompt that is served.

The turn's text is taken from one short conversation, since it is the same behind any prompt; so a template that treats
earlier turns otherwise (cuts their thoughts, moves a system turn) changes nothing of it.
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
# Answers that must come back as they were: a word, a list with code, letters of several scripts.
PLAIN = ("Blue.", "Green grass grows.", "7 of them")


class ThinkingSwitch(NamedTuple):
    """A variable that templates turn thoughts on and off with."""

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
    """Token ids of an assistant's turn: ``preamble`` carries no loss, ``answer`` ends in the end of turn."""

    preamble: list[int]
    answer: list[int]


class ChatFormat:
    """How the assistant's turns of a model are learnt.

    Args:
        chat: the model's tokenizer and template, as they are served.
    """

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self._prompt = chat.render(ASKED)
        self._prompt_ids = chat.tokens(self._prompt)

    def learn(self, answer: str) -> LearntTurn | None:
        """Return what is learnt of an answer; None where the template does not write it behind the prompt.

        Control tokens in the answer are broken, as in any turn. Where the template itself puts white space around an
        answer, the answer's own is left out: else each round would add some to what the last one learnt.
        """
        text = self._turn_text(self._bare(answer))
        rest = None if text is None else self._behind_preamble(text)
        if rest is None:
            return None
        stops = set(self.chat.stop_ids)
        end = next((place for place, token in enumerate(rest) if token in stops), None)
        if end is not None:
            return LearntTurn(self.preamble_ids, rest[: end + 1])
        # Some templates end a turn only when the next begins.
        return (
            None
            if self.chat.end_of_turn is None
            else LearntTurn(self.preamble_ids, [*rest, self.chat.end_of_turn])
        )

    def _behind_preamble(self, text: str) -> list[int] | None:
        """Return the ids of a turn's text without the preamble's; None if it does not begin with that."""
        ids = self._behind(self._prompt, text)
        if ids[: len(self.preamble_ids)] == self.preamble_ids:
            return ids[len(self.preamble_ids) :]
        # A tokenizer may put the end of a preamble and the beginning of an answer into one token.
        if not text.startswith(self.preamble):
            return None
        return self._behind(self._prompt + self.preamble, text[len(self.preamble) :])

    def _bare(self, answer: str) -> str:
        before, after = self._around
        answer = answer.lstrip() if before != before.rstrip() else answer
        return answer.rstrip() if after != after.lstrip() else answer

    @cached_property
    def _around(self) -> tuple[str, str]:
        """What the template writes before and behind an answer."""
        before, _, after = (self._turn_text(GOODBYE) or "").partition(GOODBYE)
        return before, after

    def has_control(self, answer: str) -> bool:
        """Whether an answer spells a control token or the mark of a thought: it would not come back as it is."""
        return any(word in answer for word in self.chat.words)

    @cached_property
    def preamble(self) -> str:
        """The text between a prompt and its answer that carries no loss, such as an empty thought."""
        text: str = self.chat.tokenizer.decode(self.preamble_ids)
        written = self._around[0].rstrip(" ")
        # Some tokenizers put spaces behind the tokens that they decode.
        return written if written.replace(" ", "") == text.replace(" ", "") else text

    @cached_property
    def preamble_ids(self) -> list[int]:
        """What the turns of different answers have in common before the answer.

        Spaces at its end are not counted in: they may become one token with an answer's first word.
        """
        turns = [ids for answer in PLAIN if (ids := self._turn(answer)) is not None]
        common = _common(turns) if len(turns) == len(PLAIN) else []
        while common and not self.chat.tokenizer.decode(common[-1:]).strip(" "):
            common.pop()
        return common

    def _turn(self, answer: str) -> list[int] | None:
        """Return the ids behind the prompt: preamble, answer, and what the template writes after it."""
        text = self._turn_text(answer)
        return None if text is None else self._behind(self._prompt, text)

    def _turn_text(self, answer: str) -> str | None:
        whole = self.chat.render_whole([*ASKED, Turn(role="assistant", content=answer)])
        if not whole.startswith(self._prompt):
            return self._behind_thought(whole)
        return self._added + whole[len(self._prompt) :]

    def _behind(self, before: str, text: str) -> list[int]:
        """Return the ids of a text as it stands behind another one.

        Some tokenizers put a space before whatever they are given, so a text by itself has other ids than behind a
        prompt. Where the seam melts into one token, it is tokenized behind a line break, and else by itself.
        """
        for start in (before, "\n"):
            first, ids = self.chat.tokens(start), self.chat.tokens(start + text)
            if ids[: len(first)] == first:
                return ids[len(first) :]
        return self.chat.tokens(text)

    def _behind_thought(self, whole: str) -> str | None:
        """Return the turn's text where prompt and conversation differ in nothing but an empty or opened thought.

        Reasoning models' templates open a thought in the prompt, or put an empty one there, and leave it out of a
        conversation that is over, or write it otherwise.
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
            if own:  # the template's own empty thought, of which the prompt has the beginning
                return rest[own.start(1) if self.chat.opens_thought else own.end() :]
        return self._closing + rest if self.chat.opens_thought else rest

    @property
    def _marks(self) -> tuple[Marks, ...]:
        return self.chat.reader.marks

    @property
    def _closing(self) -> str:
        """The end of an empty thought that the prompt has opened: the template's own, where it has a switch for it."""
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
        """What is put before an answer where the template writes prompt and answer without a gap for a thought.

        Where the prompt asks for a thought, an empty one: else answers would be learnt right behind a prompt that says
        to think first. Where it opens one, its end: else they would be learnt as thoughts.
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
        if any(mark.close in end for mark in self._marks):  # the prompt has said that there is no thought
            return ""
        mark = next((m for m in self._marks if m.open in told and m.open in self.chat.controls), None)
        return f"{mark.open}{mark.close}" if mark else ""

    def _thought_when_off(self, off: Chat) -> str:
        """Return what the template adds to the prompt of a model that shall not think."""
        with_it, without = (chat.render(ASKED).rpartition(HELLO)[2] for chat in (off, self.chat))
        if with_it.startswith(without) and with_it != without:
            return with_it[len(without) :]
        mark = self._marks[0]
        return f"{mark.open}\n\n{mark.close}\n\n"


def thinking_off(chat: Chat) -> Chat | None:
    """Return the same model told not to think, where its template has a switch for that and it is on."""
    for switch in SWITCHES:
        given = chat.settings.kwargs.get(switch.name, switch.on)
        if given == switch.off or not re.search(rf"\b{switch.name}\b", chat.template):
            continue
        other = chat.used_with({switch.name: switch.off})
        try:
            off, on = other.render(ASKED), chat.render(ASKED)
        except ArenaError:
            continue
        if switch.off is not False:  # it may be a word in a system line and no more
            off, on = off.rpartition(HELLO)[2], on.rpartition(HELLO)[2]
        if off != on:
            return other
    return None


def _without_thought(end: str, mark: Marks) -> str:
    """Return a prompt's end without a thought of the template's own (an empty one, mostly) or one that is left open."""
    opened, closed = re.escape(mark.open), re.escape(mark.close)
    end = re.sub(rf"{opened}.*?{closed}", "", end, flags=re.DOTALL)
    return re.sub(rf"{opened}\s*(?:thought|analysis)?\s*\Z|{closed}\s*\Z", "", end)


def _common(rows: Sequence[list[int]]) -> list[int]:
    """Return what all rows begin with."""
    same = (len(set(column)) == 1 for column in zip(*rows, strict=False))
    return rows[0][: sum(takewhile(bool, same))]
