"""A model's chat format, checked before anything is asked or judged: is what is learnt what will be served?

A row is learnt as the prompt, exactly as it is served, and behind it what a template writes of an assistant's turn:
a preamble (an empty thought, the name of a channel), the answer, a token that ends it. Loss is on the answer and on
that one token. The turn's text is taken from one short conversation, since it is the same behind any prompt; so a
template that treats earlier turns otherwise (cuts their thoughts, moves a system turn) changes nothing of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from itertools import takewhile
from typing import Any, NamedTuple

from arena_learning.engines.chat import GOODBYE, HELLO, Chat
from arena_learning.engines.tokenizer import ChatSettings
from arena_learning.errors import ArenaError
from arena_learning.rows import Turn
from arena_learning.thoughts import Marks

ASKED = (Turn(role="user", content=HELLO),)
# Answers that must come back as they were: a word, a list with code, letters of several scripts.
PLAIN = ("Blue.", "Green grass grows.", "7 of them")
LAID_OUT = "Two colours:\n\n1. Red\n2. Blue\n\n```python\nx = {'a': [1, 2]}\n```"
SCRIPTS = "Über 5 °C, 日本語, кот 🙂 done"
SWITCHES = ("enable_thinking", "thinking")  # what templates call the variable that turns thoughts on and off


class Learnt(NamedTuple):
    """Token ids of an assistant's turn: ``preamble`` carries no loss, ``answer`` ends in the end of turn."""

    preamble: list[int]
    answer: list[int]


class Checked(NamedTuple):
    """What the check found.

    Attributes:
        end_of_turn: the token that ends an answer.
        preamble: the text between a prompt and its answer that carries no loss.
        notes: what a user should know of the format, a sentence each.
    """

    end_of_turn: int
    preamble: str
    notes: tuple[str, ...]


class ChatFormat:
    """How the assistant's turns of a model are learnt.

    Args:
        chat: the model's tokenizer and template, as they are served.
    """

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self._prompt = chat.render(ASKED)
        self._prompt_ids = chat.tokens(self._prompt)

    def learn(self, answer: str) -> Learnt | None:
        """Return what is learnt of an answer; None where the template does not write it behind the prompt.

        Control tokens in the answer are broken, as in any turn.
        """
        ids = self._turn(answer)
        if ids is None or ids[: len(self.preamble_ids)] != self.preamble_ids:
            return None
        rest = ids[len(self.preamble_ids) :]
        stops = set(self.chat.stop_ids)
        end = next((place for place, token in enumerate(rest) if token in stops), None)
        if end is not None:
            return Learnt(self.preamble_ids, rest[: end + 1])
        # Some templates end a turn only when the next begins.
        return (
            None
            if self.chat.end_of_turn is None
            else Learnt(self.preamble_ids, [*rest, self.chat.end_of_turn])
        )

    def has_control(self, answer: str) -> bool:
        """Whether an answer spells a control token or the mark of a thought: it would not come back as it is."""
        return any(word in answer for word in self.chat.words)

    @cached_property
    def preamble(self) -> str:
        """The text between a prompt and its answer that carries no loss, such as an empty thought."""
        text: str = self.chat.tokenizer.decode(self.preamble_ids)
        return text

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
        whole = self.chat.render_whole([*ASKED, Turn(role="assistant", content=answer)])
        if not whole.startswith(self._prompt):
            rest = self._behind_thought(whole)
            return None if rest is None else self.chat.tokens(rest)
        if not self._added:
            ids = self.chat.tokens(whole)
            if ids[: len(self._prompt_ids)] == self._prompt_ids:
                return ids[len(self._prompt_ids) :]
        return self.chat.tokens(self._added + whole[len(self._prompt) :])

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
        """The end of an empty thought that the prompt has opened."""
        end = self._prompt.rpartition(HELLO)[2]
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
        told = self._prompt.partition(HELLO)[0]
        mark = next((m for m in self._marks if m.open in told and m.open in self.chat.controls), None)
        return f"{mark.open}{mark.close}" if mark else ""

    def _thought_when_off(self, off: Chat) -> str:
        """Return what the template adds to the prompt of a model that shall not think."""
        with_it, without = (chat.render(ASKED).rpartition(HELLO)[2] for chat in (off, self.chat))
        if with_it.startswith(without) and with_it != without:
            return with_it[len(without) :]
        mark = self._marks[0]
        return f"{mark.open}\n\n{mark.close}\n\n"


def check_chat(chat: Chat, place: str = "weights") -> Checked:
    """Check that what would be learnt with this format is what will be served, and return what was found.

    Args:
        chat: the tokenizer and template, as they are used for serving.
        place: the section of params.yaml that the model stands in, for the errors' hints.

    Raises:
        ArenaError: the prompt is not the start of the conversation; an answer never ends, or more than the answer and
            one end would be learnt; what is learnt does not read back as the answer.
    """
    problem = _problem(chat)
    if problem:
        raise ArenaError(problem, where=str(chat.folder), mend=_hint(chat, place))
    form = ChatFormat(chat)
    learnt = form.learn(PLAIN[0])
    assert learnt is not None
    notes = [*describe(chat, place), *_learning_notes(form)]
    return Checked(learnt.answer[-1], form.preamble, tuple(notes))


def describe(chat: Chat, place: str) -> list[str]:
    """Return what a user should know of a format that a model is served with, a sentence each."""
    notes = []
    if chat.dated:
        notes.append(f"the template writes a date: it is {chat.dated[0]} ({place}.template_date)")
    off = thinking_off(chat)
    if chat.opens_thought or off is not None:
        how = f"; {place}.chat_template_kwargs: {_shown(off.settings)} turns it off" if off else ""
        notes.append(f"the model thinks before it answers: give sampling.max_tokens room for that{how}")
    if not chat.takes_system:
        notes.append("the template takes no system turn: such instructions are refused one by one")
    if not chat.takes_history:
        notes.append("the template takes no earlier turns: such instructions are refused one by one")
    return notes


def thinking_off(chat: Chat) -> Chat | None:
    """Return the same model told not to think, where its template has a switch for that and it is on."""
    for name in SWITCHES:
        if name in chat.settings.kwargs or not re.search(rf"\b{name}\b", chat.template):
            continue
        other = chat.used_with({name: False})
        try:
            if other.render(ASKED) != chat.render(ASKED):
                return other
        except ArenaError:
            continue
    return None


def _problem(chat: Chat) -> str:
    """Return why a model cannot be trained with this format, or nothing."""
    try:
        form = ChatFormat(chat)
        learnt = [form.learn(answer) for answer in PLAIN]
    except ArenaError as error:
        return error.what
    if any(one is None for one in learnt):
        if form._turn(PLAIN[0]) is None:
            return (
                "the chat template renders a prompt that is not the start of the conversation, so prompt and answer "
                "cannot be told apart in training"
            )
        return _endless(form)
    ends = {one.answer[-1] for one in learnt if one is not None}
    if len(ends) != 1:
        return "the chat template ends turns with different tokens"
    return _round_trip(form) or _thought_stops(form)


def _endless(form: ChatFormat) -> str:
    written = form.chat.tokenizer.decode(form._turn(PLAIN[0]) or [])
    stopping = form.chat.tokenizer.convert_ids_to_tokens(form.chat.stop_ids)
    return (
        f"an answer has no end of turn that stops generation: the template writes {written!r} and generation stops at "
        f"{stopping}, so that a model trained on this never learns to stop, while its loss looks healthy"
    )


def _thought_stops(form: ChatFormat) -> str:
    """Return what is wrong where a thought ends in a token that ends answers, too: nobody would see an answer."""
    spoken = {"role": "assistant", "content": GOODBYE}
    for field in ("reasoning_content", "thinking", "reasoning"):
        whole = form.chat.render_messages([{"role": "user", "content": HELLO}, {**spoken, field: "Zephyr"}])
        thought = whole.rpartition("Zephyr")[2].partition(GOODBYE)[0] if "Zephyr" in whole else ""
        stops = [token for token in form.chat.tokens(thought) if token in form.chat.stop_ids]
        if stops:
            name = form.chat.tokenizer.convert_ids_to_tokens(stops[0])
            return f"the model ends its thoughts with {name}, which ends its answers, too"
    return ""


def _round_trip(form: ChatFormat) -> str:
    """Return what is wrong where an answer that is learnt does not read back as itself, twice over."""
    for answer in (*PLAIN, LAID_OUT):
        text, seen = answer, []
        for _ in range(2):
            learnt = form.learn(text)
            if learnt is None:
                return f"the answer {text[:40]!r} is not written behind the prompt"
            if set(learnt.answer[:-1]) & set(form.chat.controls.values()):
                written = form.chat.tokenizer.decode(learnt.answer)
                return f"more than the answer and its end would be learnt: {written!r}"
            read = form.chat.read([*learnt.preamble, *learnt.answer])
            text = read.text.strip()
            if text != answer or read.thought:
                return f"the answer {answer!r} is learnt, and reads back as {(read.thought + read.text)!r}"
            seen.append(learnt)
        if seen[0] != seen[1]:
            return f"the answer {answer!r}, learnt and read back, is learnt otherwise"
    return ""


def _learning_notes(form: ChatFormat) -> list[str]:
    notes = []
    if form.preamble.strip():
        notes.append(f"answers are learnt behind {form.preamble!r}, which carries no loss")
    learnt = form.learn(SCRIPTS)
    if learnt is None or form.chat.read([*learnt.preamble, *learnt.answer]).text.strip() != SCRIPTS:
        notes.append(f"the tokenizer does not keep all letters of {SCRIPTS!r}")
    return notes


def _hint(chat: Chat, place: str) -> str:
    """Return the parameter that would mend a format: one that was tried, or a template of one's own."""
    switches = [name for name in SWITCHES if re.search(rf"\b{name}\b", chat.template)]
    tries: list[dict[str, Any]] = [{name: value} for name in switches for value in (False, True)]
    tries += [{"tools": []}] if re.search(r"\btools\b", chat.template) else []
    for kwargs in tries:
        other = chat.used_with(kwargs)
        if other.settings != chat.settings and not _problem(other):
            return f"set {place}.chat_template_kwargs: {_shown(other.settings)}"
    return (
        f"give a template that ends the assistant's turn with a token which stops generation, and whose prompt is what "
        f"it writes before an answer: {place}.chat_template: FILE"
    )


def _shown(settings: ChatSettings) -> str:
    pairs = ", ".join(f"{key}: {str(value).lower()}" for key, value in settings.kwargs.items())
    return f"{{{pairs}}}"


def _without_thought(end: str, mark: Marks) -> str:
    """Return a prompt's end without an empty thought, or one that is left open."""
    opened, closed = re.escape(mark.open), re.escape(mark.close)
    end = re.sub(rf"{opened}\s*(?:thought|analysis)?\s*{closed}", "", end)
    return re.sub(rf"{opened}\s*(?:thought|analysis)?\s*\Z|{closed}\s*\Z", "", end)


def _common(rows: Sequence[list[int]]) -> list[int]:
    """Return what all rows begin with."""
    same = (len(set(column)) == 1 for column in zip(*rows, strict=False))
    return rows[0][: sum(takewhile(bool, same))]
