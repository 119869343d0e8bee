"""Reads an endpoint's replies. They are untrusted: everything except a complete answer is malformed."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from arena_learning.engines.base import Completion, Refused, Token
from arena_learning.engines.openai.errors import message_of, status_of
from arena_learning.engines.openai.message import (
    Message,
    calls_a_tool,
    ending,
    finished,
    read_message,
)

BYTES_A_TOKEN = 4  # of UTF-8, to estimate tokens if the server does not count them
EMPTY = "an empty answer"
_FILTER = "the endpoint's content filter cut the answer off"


class Malformed(NamedTuple):
    """Why a body is not an answer; the request is repeated.

    Attributes:
        reason: short description of the problem.
        unreadable: whether the body is not a completion at all; several of them mean that the address is wrong.
        status: status of an error that was sent with status 200, or 0.
    """

    reason: str
    unreadable: bool = False
    status: int = 0


class EndpointReply(NamedTuple):
    """The contents of a body, and the ``finish_reason`` of an answer if it is unknown."""

    found: Completion | Refused | Malformed
    unknown: str = ""


class _Usage(NamedTuple):
    """Token counts from the server; 0 if it does not count. ``completion`` includes the thought."""

    prompt: int = 0
    completion: int = 0
    thought: int = 0


def read_reply(body: str, prompt_bytes: int, limit: int) -> EndpointReply:
    """Return the answer in a response body (with ``seconds`` 0), a refusal, or what is wrong with the body.

    Args:
        body: body of the response.
        prompt_bytes: length of the prompt in bytes, to estimate its tokens if the server does not count them.
        limit: limit of the answer's tokens.
    """
    if not body.strip():
        return EndpointReply(Malformed("an empty body", unreadable=True))
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        return EndpointReply(Malformed(f"not JSON: {body[:60]!r}", unreadable=True))
    choice = _first_choice(reply)
    if choice is None:
        what = message_of(reply) or body[:60]
        return EndpointReply(
            Malformed(f"no choice in it: {what[:200]!r}", unreadable=True, status=status_of(reply))
        )
    return _read_choice(choice, _usage(reply), prompt_bytes, limit)


def _read_choice(choice: dict[str, Any], usage: _Usage, prompt_bytes: int, limit: int) -> EndpointReply:
    finish = choice.get("finish_reason")
    found = ending(finish)
    if found == "filter":
        same = str(finish).lower() == "content_filter"
        return EndpointReply(Refused(_FILTER if same else f"{_FILTER} ({str(finish)[:40]})"))
    if found == "broken":
        return EndpointReply(Malformed(f"finish_reason is {str(finish)[:40]!r}"))
    message = choice.get("message")
    if not isinstance(message, dict):
        return EndpointReply(Malformed("no message in the choice", unreadable=True))
    said = read_message(message)
    if said is None:
        return EndpointReply(Malformed("no text in the message"))
    if not said.text and (found == "tool" or calls_a_tool(message)):
        return EndpointReply(Refused("a call of a tool instead of an answer"))
    nothing = not said.text and not said.thought and not usage.thought and found != "length"
    # A single token is the end of the turn: the model chose an empty answer, and would repeat it.
    if nothing and not (message.get("content") == "" and usage.completion == 1):
        return EndpointReply(Malformed(EMPTY))
    reason = finished(found, usage.completion, limit) if said.ended else "length"
    counted = _counted(said, usage, prompt_bytes)
    completion = Completion(
        said.text,
        reason,
        counted.prompt,
        counted.completion,
        0.0,
        _tokens(choice.get("logprobs")),
        said.thought,
        counted.thought,
    )
    return EndpointReply(completion, str(finish)[:40] if found == "unknown" and finish else "")


def _counted(said: Message, usage: _Usage, prompt_bytes: int) -> _Usage:
    """Return the usage, with estimates from bytes for numbers that the server does not count."""
    text, thought = len(said.text.encode()), len(said.thought.encode())
    completion = usage.completion or (text + thought) // BYTES_A_TOKEN + 1
    guess = round(completion * thought / (text + thought)) if thought else 0
    return _Usage(usage.prompt or prompt_bytes // BYTES_A_TOKEN + 1, completion, usage.thought or guess)


def _first_choice(reply: Any) -> dict[str, Any] | None:
    choices = reply.get("choices") if isinstance(reply, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else None


def _tokens(logprobs: Any) -> tuple[Token, ...]:
    """Return the tokens in a choice's ``logprobs``; none if any of them violates the protocol."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    try:
        return tuple(_token(entry) for entry in content or ())
    except (TypeError, KeyError, AttributeError):
        return ()


def _token(entry: dict[str, Any]) -> Token:
    alternatives = [(other["token"], other["logprob"]) for other in entry["top_logprobs"]]
    for text, log in [(entry["token"], 0), *alternatives]:
        if not isinstance(text, str) or not isinstance(log, int | float):
            raise TypeError(entry)
    return Token(entry["token"], tuple(sorted(alternatives, key=lambda pair: -pair[1])))


def _usage(reply: dict[str, Any]) -> _Usage:
    """Return the token counts of the server.

    Most servers include the thought in the completion's tokens; others count it separately, as the total shows.
    """
    usage = reply.get("usage")
    if not isinstance(usage, dict):
        return _Usage()
    prompt, completion, total = (
        _count(usage, name) for name in ("prompt_tokens", "completion_tokens", "total_tokens")
    )
    details = (usage, usage.get("completion_tokens_details"), usage.get("output_tokens_details"))
    thought = max(_count(held, "reasoning_tokens") for held in details)
    if thought and (thought > completion or total == prompt + completion + thought):
        completion += thought
    return _Usage(prompt, completion, thought)


def _count(held: Any, name: str) -> int:
    number = held.get(name) if isinstance(held, dict) else None
    return number if isinstance(number, int) and number > 0 else 0
