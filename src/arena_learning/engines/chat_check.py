"""Checks a model's chat format before a run: training examples must have the same tokens as served conversations.

A training example is the prompt exactly as it is served, followed by the rendered assistant turn: a preamble (an empty
thought, the name of a channel), the answer, and a token that ends it. The loss is on the answer and that token
(`engines.chat_format`).
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from arena_learning.core import ArenaError
from arena_learning.engines.chat import GOODBYE, HELLO, Chat
from arena_learning.engines.chat_format import ASKED, PLAIN, SWITCHES, ChatFormat, thinking_off
from arena_learning.engines.tokenizer import ChatSettings

LAID_OUT = "Two colours:\n\n1. Red\n2. Blue\n\n```python\nx = {'a': [1, 2]}\n```"
SCRIPTS = "Über 5 °C, 日本語, кот 🙂 done"


class CheckedChat(NamedTuple):
    """Result of the check.

    Attributes:
        end_of_turn: id of the token that ends an answer.
        preamble: text between prompt and answer, which has no loss.
        notes: sentences about the format that a user should know.
    """

    end_of_turn: int
    preamble: str
    notes: tuple[str, ...]


def check_chat(chat: Chat, place: str = "weights") -> CheckedChat:
    """Check that training examples in this format equal what is served.

    Args:
        chat: the tokenizer and template, as they are used for serving.
        place: the model's section of params.yaml, for the errors' hints.

    Raises:
        ArenaError: the prompt is not the start of the conversation; an answer never ends; more than the answer and one
            end token would be trained on; or the trained tokens do not read back as the answer.
    """
    _check_tokenizer(chat)
    problem = _problem(chat)
    if problem:
        raise ArenaError(problem, where=str(chat.folder), hint=_hint(chat, place))
    form = ChatFormat(chat)
    learnt = form.learn(PLAIN[0])
    assert learnt is not None
    notes = [*describe(chat, place), *_learning_notes(form)]
    return CheckedChat(learnt.answer[-1], form.preamble, tuple(notes))


def describe(chat: Chat, place: str) -> list[str]:
    """Return sentences about the chat format that a user should know."""
    notes = []
    if chat.dated:
        notes.append(f"the template writes a date: it is {chat.dated[0]} ({place}.template_date)")
    off = thinking_off(chat)
    if chat.opens_thought or off is not None:
        how = f"; {place}.chat_template_kwargs: {_shown(off.settings)} turns it off" if off else ""
        notes.append(f"the model thinks before it answers: give sampling.max_tokens room for that{how}")
    if not chat.takes_user:
        notes.append("the template leaves the user's words out: every instruction is refused")
    if not chat.takes_system:
        notes.append("the template takes no system turn: such instructions are refused one by one")
    if not chat.takes_history:
        notes.append("the template takes no earlier turns: such instructions are refused one by one")
    return notes


def _check_tokenizer(chat: Chat) -> None:
    """Check that the tokenizer decodes what it encodes; no template can fix that."""
    for text in (*PLAIN, LAID_OUT):
        read = chat.decode(chat.tokens(text)).strip()
        if read != text:
            raise ArenaError(
                f"the tokenizer does not decode what it encodes: {text!r} becomes {read!r}",
                where=str(chat.folder),
                hint="use the model's own folder with its tokenizer.json instead of a converted file",
            )


def _problem(chat: Chat) -> str:
    """Return why a model cannot be trained with this format, or nothing."""
    try:
        form = ChatFormat(chat)
        learnt = [form.learn(answer) for answer in PLAIN]
    except ArenaError as error:
        return error.what
    if not chat.takes_user:
        return "the chat template leaves the user's words out"
    if any(one is None for one in learnt):
        if form._turn(PLAIN[0]) is None:
            return (
                "the chat template renders a prompt that is not the start of the conversation, so prompt and answer "
                "cannot be separated in training"
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
        f"an answer has no end of turn that stops generation: the template writes {written!r}, but generation stops at "
        f"{stopping}, so a model would never learn to stop, although its loss looks good"
    )


def _thought_stops(form: ChatFormat) -> str:
    """Return the problem if a thought ends with a token that also ends answers, so that no answer is generated."""
    spoken = {"role": "assistant", "content": GOODBYE}
    for field in ("reasoning_content", "thinking", "reasoning"):
        whole = form.chat.render_messages([{"role": "user", "content": HELLO}, {**spoken, field: "Zephyr"}])
        thought = whole.rpartition("Zephyr")[2].partition(GOODBYE)[0] if "Zephyr" in whole else ""
        stops = [token for token in form.chat.tokens(thought) if token in form.chat.stop_ids]
        if stops:
            name = form.chat.tokenizer.convert_ids_to_tokens(stops[0])
            return f"the model ends its thoughts with {name}, which also ends its answers"
    return ""


def _round_trip(form: ChatFormat) -> str:
    """Return the problem if a trained answer does not read back as itself, checked twice in a row."""
    for answer in (*PLAIN, LAID_OUT):
        text, seen = answer, []
        for _ in range(2):
            learnt = form.learn(text)
            if learnt is None:
                return f"the template does not write the answer {text[:40]!r} after the prompt"
            if set(learnt.answer[:-1]) & set(form.chat.controls.values()):
                written = form.chat.tokenizer.decode(learnt.answer)
                return f"more than the answer and its end would be trained on: {written!r}"
            read = form.chat.read([*learnt.preamble, *learnt.answer])
            text = read.text.strip()
            if text != answer or read.thought:
                return f"the trained answer {answer!r} reads back as {(read.thought + read.text)!r}"
            seen.append(learnt)
        if seen[0] != seen[1]:
            return f"the answer {answer!r}, read back and trained on again, gives other tokens"
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
    """Return a hint with a parameter that fixes the format: template variables that pass the check, or a template."""
    switches = [switch for switch in SWITCHES if re.search(rf"\b{switch.name}\b", chat.template)]
    tries: list[dict[str, Any]] = [{one.name: value} for one in switches for value in (one.off, one.on)]
    tries += [{"tools": []}] if re.search(r"\btools\b", chat.template) else []
    tries += [_undefined(chat)]
    for kwargs in tries:
        other = chat.used_with(kwargs)
        if other.settings != chat.settings and not _problem(other):
            return f"set {place}.chat_template_kwargs: {_shown(other.settings)}"
    return (
        f"set {place}.chat_template: FILE to a template that ends the assistant's turn with a token that stops "
        f"generation, and that writes the prompt exactly as it stands before an answer"
    )


def _undefined(chat: Chat) -> dict[str, Any]:
    """Return empty values for the variables that the template requires."""
    given: dict[str, Any] = {}
    for _ in range(8):
        try:
            chat.used_with(given).render(ASKED)
        except ArenaError as error:
            name = re.search(r"'(\w+)' is undefined", error.what)
            if name is None or name[1] in given:
                break
            given[name[1]] = ""
        else:
            break
    return given


def _shown(settings: ChatSettings) -> str:
    pairs = ", ".join(f"{key}: {json.dumps(value)}" for key, value in settings.kwargs.items())
    return f"{{{pairs}}}"
