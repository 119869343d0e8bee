"""Reads conversations: turns with ``role`` and ``content``, or ``from`` and ``value`` (ShareGPT).

Malformed conversations are errors with their place. Well-formed conversations that cannot be used (a tool's turn, an
empty turn, two turns of one speaker in a row) raise `OddError`; public files contain some, and they are counted by
reason.
"""

from __future__ import annotations

import ast
import re
from itertools import pairwise
from typing import Any, NamedTuple

from arena_learning.core import ArenaError
from arena_learning.importers.source import parsed, whole

SHAPE = "a conversation must be a list of turns with role and content (or from and value)"
_ROLES = {
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "system": "system",
}
_SPEAKER = re.compile(r"\n\n(Human|Assistant): ?")


class OddError(Exception):
    """A well-formed conversation that cannot be used, with the reason under which it is counted."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Turns(NamedTuple):
    """A conversation up to its last user turn, and the assistant's answer after it (None if there is none)."""

    turns: list[dict[str, str]]
    answer: str | None


def read_conversation(value: Any, where: str) -> Turns:
    """Return a conversation's turns and its answer.

    Args:
        value: a list of turns, or its JSON text (a cell of a CSV file).
        where: file and line, for errors.

    Raises:
        ArenaError: the value is not a list of turns.
        OddError: the conversation cannot be used.

    Example:
        >>> read_conversation([{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}], "line 1")
        Turns(turns=[{'role': 'user', 'content': 'Hi'}], answer='Hello')
    """
    turns = [_turn(item, number, where) for number, item in enumerate(_items(value, where), 1)]
    answer = turns.pop()["content"] if turns and turns[-1]["role"] == "assistant" else None
    _check(turns)
    return Turns(turns, answer)


def read_answer(value: Any, where: str) -> Turns:
    """Return an answer that is given as a text, as a single assistant turn, or as a whole conversation.

    If only the answer is given, the turns are empty. A text of the form ``\\n\\nHuman: ...\\n\\nAssistant: ...`` is a
    whole conversation.

    Raises:
        ArenaError: the value has none of these forms.
        OddError: the conversation cannot be used, or does not end with an assistant turn.
    """
    if isinstance(value, str) and not _looks_like_turns(value):
        if not value.startswith("\n\nHuman:"):
            return Turns([], value)
        parts = _SPEAKER.split(value)[1:]
        value = [
            {"from": who.lower(), "value": text} for who, text in zip(parts[::2], parts[1::2], strict=True)
        ]
        for turn in value:
            turn["from"] = turn["from"].replace("assistant", "gpt")
    items = _items(value, where)
    if len(items) == 1 and (turn := _turn(items[0], 1, where))["role"] == "assistant":
        return Turns([], turn["content"])
    whole = read_conversation(items, where)
    if whole.answer is None:
        raise OddError("an answer that does not end with the assistant's turn")
    return whole


def text_list(value: Any, where: str) -> list[Any] | None:
    """Return a list of texts or None values, given as a list or as the text of a list; None if it is neither.

    The text of a list may be JSON or Python's notation, which pandas writes into CSV cells.
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = parsed(value, where)
        except ArenaError:
            value = _printed(value)
    if isinstance(value, list) and all(item is None or isinstance(item, str) for item in value):
        return value or [None]  # an empty list counts as one empty turn
    return None


def _printed(text: str) -> Any:
    """Return the list in a text in Python's notation, or None if there is none."""
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return whole(value) if isinstance(value, list) else None


def _items(value: Any, where: str) -> list[Any]:
    if isinstance(value, str):
        text, value = value, None
        if text.lstrip().startswith("["):
            try:
                value = parsed(text, where)
            except ArenaError:
                if "'role'" in text or "'from'" in text:
                    hint = "the value is in the notation of Python or NumPy: write the file as JSON Lines or Parquet"
                    raise ArenaError(SHAPE, where=where, hint=hint) from None
    if not isinstance(value, list) or not all(isinstance(turn, dict) for turn in value):
        texts = isinstance(value, list) and all(isinstance(turn, str) for turn in value)
        hint = "import lists of texts, as in MT-Bench, with `arena import fastchat`" if texts else ""
        raise ArenaError(SHAPE, where=where, hint=hint)
    return value


def _looks_like_turns(text: str) -> bool:
    return re.match(r'\s*\[\s*\{\s*["\'](role|content|from|value)["\']\s*:', text) is not None


def _turn(item: dict[str, Any], number: int, where: str) -> dict[str, str]:
    speaker = item.get("role", item.get("from"))
    if not isinstance(speaker, str):
        raise ArenaError(f"turn {number} has no role", where=where, hint=SHAPE)
    role = _ROLES.get(speaker.strip().lower())
    if role is None:
        raise OddError(f"a conversation with a turn of {speaker.strip()[:20]!r}")
    content = item.get("content", item.get("value"))
    if isinstance(content, list):
        content = _joined(content, number, where)
    if content is not None and not isinstance(content, str):
        raise ArenaError(f"turn {number} has no text", where=where, hint=SHAPE)
    return {"role": role, "content": content or ""}


def _joined(parts: list[Any], number: int, where: str) -> str:
    """Return the text of content that consists of parts: ``[{"type": "text", "text": ...}]``."""
    texts = []
    for part in parts:
        if not isinstance(part, dict):
            raise ArenaError(f"turn {number} has no text", where=where, hint=SHAPE)
        if part.get("type", "text") != "text" or not isinstance(part.get("text"), str):
            raise OddError(f"a conversation with a part of kind {str(part.get('type'))[:20]!r}")
        texts.append(part["text"])
    return "".join(texts)


def _check(turns: list[dict[str, str]]) -> None:
    """Check that turns can be an instruction: speakers alternate, the user speaks first and last, no turn is empty."""
    spoken = [turn["role"] for turn in (turns[1:] if turns and turns[0]["role"] == "system" else turns)]
    if "user" not in spoken:
        raise OddError("a conversation without a user's turn")
    if "system" in spoken:
        raise OddError("a conversation with a system turn inside it")
    if spoken[0] != "user":
        raise OddError("a conversation that does not begin with the user")
    if any(one == two for one, two in pairwise(spoken)) or spoken[-1] != "user":
        raise OddError("a conversation with two turns of one speaker in a row")
    if not all(turn["content"].strip() for turn in turns):
        raise OddError("a conversation with an empty turn")
