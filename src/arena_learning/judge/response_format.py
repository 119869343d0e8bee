"""The JSON schema of a verdict, for engines with structured output."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from arena_learning.core import ArenaError
from arena_learning.judge.template import JudgeTemplate

HELD = ("openai", "vllm")  # engines with structured output
_CHARS_A_TOKEN = 2  # of an explanation: half the usual for English, so that the scores after it have room


def response_format(
    templates: Collection[JudgeTemplate], engine: str, where: str, max_tokens: int
) -> dict[str, Any]:
    """Return the ``response_format`` of the OpenAI protocol that forces a reply into the templates' verdict.

    Keys are in the schema's order, so the explanation is where the prompt asks for it. With vLLM its length is limited
    to leave room for the scores within ``max_tokens``: a small model would otherwise write until it is cut off, and
    lose its verdict. (Some hosted endpoints refuse a schema that limits a string's length.)

    Raises:
        ArenaError: the engine has no structured output, or the templates ask for no JSON or for different orders.
    """
    if engine not in HELD:
        raise ArenaError(
            f"the engine '{engine}' has no structured output",
            where=where,
            hint=f"use one of {', '.join(HELD)}; or set scores: text",
        )
    plain = sorted(t.name for t in templates if not t.is_json)
    if plain:
        raise ArenaError(
            f"the template '{plain[0]}' does not ask for JSON",
            where=where,
            hint="use template: json, or a template of yours with `verdict: json` in its head",
        )
    if len({t.is_last for t in templates}) > 1:
        raise ArenaError(
            "some templates ask for the explanation before the scores, others after them",
            where=where,
            hint="use templates with one order",
        )
    score = {"type": "integer", "enum": list(range(1, 11))}
    scores = {"Score-A": score, "Score-B": score}
    longest = {"maxLength": _CHARS_A_TOKEN * max_tokens} if engine == "vllm" else {}
    reasons = {"explanation": {"type": "string", **longest}}
    fields = {**reasons, **scores} if next(iter(templates)).is_last else {**scores, **reasons}
    schema = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    return {"type": "json_schema", "json_schema": {"name": "verdict", "strict": True, "schema": schema}}
