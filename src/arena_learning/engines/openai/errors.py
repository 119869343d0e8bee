"""Classifies an endpoint's errors: they concern one conversation, every request, or only the moment.

The status is not enough: 429 may be an exhausted quota or a temporary limit, 400 a content filter or a misspelt field.
So the error's text is matched against the words that services use.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from arena_learning.core import redacted
from arena_learning.engines.openai.rate_limit import LONGEST_PAUSE, retry_after, retry_in
from arena_learning.params import Endpoint

_LIMITED = (409, 429)
_OURS = (301, 302, 303, 307, 308, 401, 403, 404, 405, 410)  # every request would get the same error
_ITEM = (413, 451)
_NAMES = frozenset(
    {"code", "type", "status", "reason", "quotaid"}
)  # fields with codes that the service defines

_PAID = re.compile(  # only payment or another key helps
    r"insufficient[_ ](?:user[_ ]|account[_ ])?(?:quota|balance|credits?|funds)|billing[_ ]hard[_ ]limit"
    r"|billing_not_active|exceeded_current_quota|credit[_ ]balance(?:[_ ]is)?[_ ]too[_ ]low|perday"
    r"|(?:out of|no more|not enough|used all (?:of )?(?:your |the )?(?:available )?|requires more) ?(?:credits|funds)"
    r"|no (?:credits?|funds) (?:left|remaining)|spend(?:ing)?[_ ]limit|余额不足|欠费|недостаточно средств",
    re.I,
)
_QUOTA = re.compile(
    r"exceeded your (?:\w+ ){0,2}quota|quota(?: has been| is|_| )?(?:exceeded|exhausted|used up)"
    r"|per[ _-](?:day|week|month)\b|\b[RT]PD\b"
    r"|\b(?:dai|week|month)ly (?:\w+ ){0,2}(?:limit|quota|allowance|usage|cap|budget)",
    re.I,
)
_PASSES = re.compile(r"per[ _-]?(?:min|sec)|\b[RT]PM\b", re.I)
_CONTEXT = re.compile(r"context[_ ](?:length|window|size)|maximum context|exceed_context", re.I)
_TOO_LONG = re.compile(
    r"(?:prompt|input|request|message)s?\b.{0,40}\btoo (?:long|large)|too many (?:input )?tokens"
    r"|string_above_max_length|exceeds?.{0,40}\b(?:input|context)\b",
    re.I | re.S,
)
_TOO_LARGE = re.compile(r"request (?:is )?too large", re.I)  # exceeds the tokens of a whole minute: permanent
_FILTERED = re.compile(
    r"content[_ ]?(?:policy|filter|management policy|moderation|exists risk|violation)|ResponsibleAIPolicy|moderation"
    r"|\bflagged|data_inspection_failed|usage polic|guardrail|prohibited[_ ]content|invalid_prompt"
    r"|safety (?:system|filter|polic|setting|check)|sensitive (?:content|word|information|input)|敏感",
    re.I,
)
_HEAD = 300  # characters of a message that are matched; after them a service may quote the prompt


_REQUEST_PATH = re.compile(r"/(?:chat/)?completions$|/responses$|/models$")
_VERSIONED = re.compile(r"/v\d|/openai|/api/|/deployments/")


class EndpointError(NamedTuple):
    """A classified error.

    Attributes:
        kind: ``quota`` (exhausted: needs payment, time or another key), ``ours`` (every request would get it),
            ``limited`` (too many requests: temporary), ``failed`` (may be temporary), ``item`` (only this conversation)
            or ``request`` (refused; perhaps every other request too).
        what: status and message, in one short line.
        wait: seconds that the endpoint asks to wait, or None.
        status: the HTTP status.
    """

    kind: Literal["quota", "ours", "limited", "failed", "item", "request"]
    what: str
    wait: float | None = None
    status: int = 0


def classify_error(status: int, body: str, headers: Mapping[str, str]) -> EndpointError:
    """Classify an error.

    Args:
        status: HTTP status, or the status in the body of an error that was sent with 200.
        body: body of the response.
        headers: headers of the response, in lower case or case-insensitive.

    Example:
        >>> classify_error(429, '{"error": {"code": "insufficient_quota"}}', {}).kind
        'quota'
    """
    what = f"status {status}: {error_text(body)}" if body.strip() else f"status {status}"
    head = error_text(body, _HEAD)
    words = " ".join([*_codes(_parsed(body)), head])
    wait = retry_after(headers)
    wait = retry_in(body) if wait is None else wait
    if _used_up(status, words, wait):
        return EndpointError("quota", what, wait)
    if _does_not_fit(status, words):
        return EndpointError("item", f"the prompt does not fit: {what}")
    if status in (400, 403, 422) and _FILTERED.search(words):
        return EndpointError("item", f"the endpoint's content filter refused it: {what}")
    if status in _LIMITED:
        return EndpointError("limited", what, wait)
    if status == 408 or status >= 500:
        return EndpointError("failed", what, wait)
    if status in _OURS:
        return EndpointError("ours", what, status=status)
    return EndpointError("item" if status in _ITEM else "request", what)


def refusal_hint(status: int, what: str, endpoint: Endpoint, model: str) -> str:
    """Return what to do about an error that every request would get.

    Args:
        status: HTTP status.
        what: the error's text.
        endpoint: settings of the endpoint.
        model: the model that was asked for.

    Example:
        >>> refusal_hint(404, "Not Found", Endpoint(base_url="http://localhost:8000"), "m")
        'most addresses end in /v1: set base_url: http://localhost:8000/v1'
    """
    variable, address = endpoint.api_key_env, endpoint.base_url.rstrip("/")
    key = f"the key in {variable}" if variable else "api_key_env (no key is sent)"
    if status in (401, 403):
        return f"check {key}"
    if status in (404, 405):
        whole = _REQUEST_PATH.sub("", address)
        if whole != address:
            return f"the address ends before the path of a request: set base_url: {whole}"
        if model in what or "model" in what.lower():
            return f"check model '{model}': `arena doctor` says which ones the endpoint lists"
        if not _VERSIONED.search(urlsplit(address).path):
            return f"most addresses end in /v1: set base_url: {address}/v1"
    return f"check {key}, base_url and model '{model}'"


def error_text(body: str, longest: int = 200) -> str:
    """Return an error body's message in one short line, with access tokens removed."""
    return redacted(" ".join((message_of(_parsed(body)) or body).split()))[:longest]


def message_of(reply: Any) -> str:
    """Return the message of ``{"error": {"message": ...}}`` or a simpler form; Google sends it in a list."""
    if isinstance(reply, list) and len(reply) == 1:
        reply = reply[0]
    error = (reply.get("error") or reply) if isinstance(reply, dict) else ""
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or ""
    return error if isinstance(error, str) else ""


def status_of(reply: Any) -> int:
    """Return the status in the body of an error that was sent with status 200 (``{"error": {"code": 429}}``), or 0.

    An error without a status, whose text says that a quota is exhausted, counts as 402.
    """
    error = reply.get("error") if isinstance(reply, dict) else None
    code = error.get("code", error.get("status")) if isinstance(error, dict) else None
    code = int(code) if isinstance(code, str) and code.isascii() and code.isdigit() else code
    if isinstance(code, int) and not isinstance(code, bool) and 400 <= code <= 599:
        return code
    words = " ".join([*_codes(error), message_of(reply)[:_HEAD]])
    return 402 if error and _PAID.search(words) else 0


def _used_up(status: int, words: str, wait: float | None) -> bool:
    """Whether a quota is exhausted; one that is renewed within the longest pause is waited for instead."""
    if status == 402:
        return True
    if status not in (400, 403, 429):
        return False
    if _PAID.search(words if status != 400 else words[:_HEAD]):
        return True
    if status == 400 or not _QUOTA.search(words) or _PASSES.search(words):
        return False
    return wait is None or wait > LONGEST_PAUSE


def _does_not_fit(status: int, words: str) -> bool:
    """Whether a prompt exceeds the model's context, or the limit of tokens per minute."""
    if status == 429:
        return bool(_TOO_LARGE.search(words))
    if status in (400, 422):
        return bool(_CONTEXT.search(words) or _TOO_LONG.search(words))
    return status == 500 and bool(_CONTEXT.search(words))


def _parsed(body: str) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _codes(value: Any, depth: int = 0) -> Iterator[str]:
    """Yield the error's codes and types, including those of nested errors."""
    if depth > 6:
        return
    if isinstance(value, list):
        for item in value[:20]:
            yield from _codes(item, depth + 1)
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, str) and key.lower() in _NAMES:
                yield item[:80]
            elif isinstance(item, dict | list):
                yield from _codes(item, depth + 1)
