"""The JSON schema of a verdict, for engines that can be held to one."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from arena_learning.core import ArenaError
from arena_learning.judge.template import JudgeTemplate

HELD = ("openai", "vllm")  # engines that hold an answer to a schema
_CHARS_A_TOKEN = 2  # of an explanation: half of what English takes, so that the scores behind it have room


def response_format(
    templates: Collection[JudgeTemplate], engine: str, where: str, max_tokens: int
) -> dict[str, Any]:
    """Return the ``response_format`` of the OpenAI protocol that holds an answer to the templates' verdict.

    Keys come in the schema's order, so that the reasons stand where the prompt asks for them. With vLLM the explanation
    is kept to a length that leaves room for the rest of ``max_tokens``: a small model would go on until it is cut off,
    and a verdict that was cut off is none. (Some hosted endpoints refuse a schema that bounds a text.)

    Raises:
        ArenaError: the engine cannot be held to a schema, or a template asks for no JSON, or for another order.
    """
    if engine not in HELD:
        raise ArenaError(
            f"the engine '{engine}' is held to no schema",
            where=where,
            hint=f"one of {', '.join(HELD)}; or scores: text",
        )
    plain = sorted(t.name for t in templates if not t.is_json)
    if plain:
        raise ArenaError(
            f"the template '{plain[0]}' asks for no JSON",
            where=where,
            hint="template: json, or one of your own",
        )
    if len({t.is_last for t in templates}) > 1:
        raise ArenaError("the templates want the reasons in different places", where=where)
    score = {"type": "integer", "enum": list(range(1, 11))}
    scores = {"Score-A": score, "Score-B": score}
    longest = {"maxLength": _CHARS_A_TOKEN * max_tokens} if engine == "vllm" else {}
    reasons = {"explanation": {"type": "string", **longest}}
    fields = {**reasons, **scores} if next(iter(templates)).is_last else {**scores, **reasons}
    schema = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    return {"type": "json_schema", "json_schema": {"name": "verdict", "strict": True, "schema": schema}}
