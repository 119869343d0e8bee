"""Reads the files of a batch that has ended. They are untrusted, like an endpoint's replies."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from arena_learning.engines.base import Completion, Refused
from arena_learning.engines.openai.errors import classify_error
from arena_learning.engines.openai.reply import Malformed, read_reply


class BatchResults(NamedTuple):
    """What a batch's files hold.

    Attributes:
        found: answers and lasting refusals, by request.
        reasons: why each other request has none.
        unknown: unknown finish reasons.
    """

    found: dict[str, Completion | Refused]
    reasons: dict[str, str]
    unknown: Counter[str]


def read_results(
    lines: Iterable[Mapping[str, Any]], sizes: Mapping[str, int], limit: int, nothing: str
) -> BatchResults:
    """Return the answers in a batch's files.

    Args:
        lines: of the output file and the error file, in any order. Lines of other requests are passed over.
        sizes: the length of each request's prompt in bytes, by request.
        limit: limit of the answers' tokens.
        nothing: why a request without a line has no answer.
    """
    results = BatchResults({}, dict.fromkeys(sizes, nothing), Counter())
    for line in lines:
        request = line.get("custom_id")
        if not isinstance(request, str) or request not in results.reasons:
            continue
        answer = _answer(line, sizes[request], limit, results.unknown)
        if isinstance(answer, str):
            results.reasons[request] = answer
        else:
            results.found[request] = answer
            del results.reasons[request]
    return results


def _answer(
    line: Mapping[str, Any], size: int, limit: int, unknown: Counter[str]
) -> Completion | Refused | str:
    """Return the answer in a line, or why it holds none."""
    response, error = line.get("response"), line.get("error")
    status = response.get("status_code") if isinstance(response, dict) else None
    if not isinstance(response, dict) or not isinstance(status, int) or isinstance(status, bool):
        code = error.get("code") or error.get("message") if isinstance(error, dict) else None
        return str(code or "a line without a response")[:200]
    body = json.dumps(response.get("body"), ensure_ascii=False)
    if not 200 <= status < 300:
        trouble = classify_error(status, body, {})
        return Refused(trouble.what) if trouble.kind in ("item", "request") else trouble.what
    answer, finish = read_reply(body, size, limit)
    unknown.update([finish] if finish else ())
    return answer.reason if isinstance(answer, Malformed) else answer
