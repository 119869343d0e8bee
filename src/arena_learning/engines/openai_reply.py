"""Reading what an endpoint sends back. Nothing in it is trusted: anything but a whole answer is malformed."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from arena_learning.engines.base import Completion, Refused, Token
from arena_learning.hide import hidden
from arena_learning.rows import FinishReason

_FINISHED: dict[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
}
_HALF = re.compile("[\ud800-\udfff]")  # half a character: JSON can hold one, and no store or file in UTF-8
BYTES_A_TOKEN = 4  # where a server counts no tokens: of UTF-8, so that a Chinese character is most of one


class Malformed(NamedTuple):
    """Why a body is no answer; the request is sent again."""

    reason: str


def read_reply(body: str, prompt_bytes: int) -> Completion | Refused | Malformed:
    """Return the answer in a response body (``seconds`` 0), a refusal, or what is wrong with the body.

    Args:
        body: as the server sent it.
        prompt_bytes: length of the prompt, to guess its tokens where the server counts none.
    """
    if not body.strip():
        return Malformed("an empty body")
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        return Malformed(f"not JSON: {body[:60]!r}")
    choice = _first_choice(reply)
    if choice is None:
        return Malformed(f"no choice in it: {_error_text(reply) or body[:60]!r}")
    message, finish = choice.get("message"), choice.get("finish_reason")
    if finish == "content_filter":
        return Refused("the endpoint's content filter cut the answer off")
    if finish not in _FINISHED:
        return Malformed(f"finish_reason is {str(finish)[:40]!r}")
    if not isinstance(message, dict):
        return Malformed("no message in the choice")
    prompt, completion = _usage(reply)
    text = message.get("content")
    if text is None:
        text = message.get("refusal")
    if text is None and finish == "length":
        text = ""  # a reasoning model that never came to its answer
    if not isinstance(text, str):
        return Malformed("no text in the message")
    if not text and finish != "length" and not completion:
        return Malformed("an empty answer")
    text = _HALF.sub("\ufffd", text)
    return Completion(
        text,
        _FINISHED[finish],
        prompt or prompt_bytes // BYTES_A_TOKEN + 1,
        completion or len(text.encode()) // BYTES_A_TOKEN + 1,
        0.0,
        _tokens(choice.get("logprobs")),
    )


def error_text(body: str) -> str:
    """Return an error body's message in one short line, without what looks like an access token."""
    try:
        text = _error_text(json.loads(body))
    except (ValueError, RecursionError):
        text = ""
    return hidden(" ".join((text or body).split()))[:200]


def _first_choice(reply: Any) -> dict[str, Any] | None:
    choices = reply.get("choices") if isinstance(reply, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else None


def _error_text(reply: Any) -> str:
    """Return the message in ``{"error": {"message": ...}}`` and its simpler forms."""
    error = reply.get("error", reply) if isinstance(reply, dict) else ""
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or ""
    return error if isinstance(error, str) else ""


def _tokens(logprobs: Any) -> tuple[Token, ...]:
    """Return the tokens in a choice's ``logprobs``; nothing where any of it is not what the protocol says."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    try:
        return tuple(_token(entry) for entry in content or ())
    except (TypeError, KeyError, AttributeError):
        return ()


def _token(entry: dict[str, Any]) -> Token:
    likely = [(other["token"], other["logprob"]) for other in entry["top_logprobs"]]
    for text, log in [(entry["token"], 0), *likely]:
        if not isinstance(text, str) or not isinstance(log, int | float):
            raise TypeError(entry)
    return Token(entry["token"], tuple(sorted(likely, key=lambda pair: -pair[1])))


def _usage(reply: dict[str, Any]) -> tuple[int, int]:
    usage = reply.get("usage")
    if not isinstance(usage, dict):
        return 0, 0
    counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    prompt, completion = (n if isinstance(n, int) and n >= 0 else 0 for n in counts)
    return prompt, completion
