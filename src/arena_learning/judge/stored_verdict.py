"""Verdicts in the store: their key, their stored form, and how they are read back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from arena_learning.judge.base import Judge, Presentation, RereadingJudge, Verdict, VersionedJudge
from arena_learning.store import store_key


def verdict_key(
    judge: Judge, presentation: Presentation, fingerprint: Mapping[str, str] | None = None
) -> bytes:
    """Return a game's store key: contents only, so that renaming a contestant keeps its verdicts.

    ``fingerprint``: an earlier fingerprint of the judge; by default the current one.
    """
    instruction, first, second = presentation
    variant = judge.variant(presentation) if isinstance(judge, VersionedJudge) else ""
    parts = {
        "judge": fingerprint or judge.fingerprint,
        "turns": [turn.model_dump() for turn in instruction.turns],
        "category": instruction.category,
        "rubric": list(instruction.rubric),
        "reference": instruction.reference,
        "responses": [[r.text, r.finish_reason] for r in (first, second)],
    }
    return store_key("game", parts | ({"variant": variant} if variant else {}))


def stored_value(verdict: Verdict, parser_version: str) -> dict[str, Any]:
    """Return a verdict's stored form, with the version of the parser that read its replies."""
    fields = verdict._asdict()
    if not verdict.replies:
        del fields["replies"]
    if not verdict.refused:
        del fields["refused"]
    if verdict.prompt_tokens is None:
        del fields["prompt_tokens"]
    del fields["passing"], fields["jury"]
    return fields | ({"parser": parser_version} if parser_version else {})


def read_verdict(value: Mapping[str, Any], judge: Judge, presentation: Presentation) -> Verdict:
    """Return a stored verdict; replies read by another parser version are read again."""
    fields = {name: item for name, item in value.items() if name in Verdict._fields}
    verdict = Verdict(**fields)
    verdict = verdict._replace(replies=tuple((text, reason) for text, reason in verdict.replies))
    if (
        not isinstance(judge, RereadingJudge)
        or value.get("parser") == judge.parser_version
        or verdict.refused
    ):
        return verdict
    # Before replies were kept, the rationale was the whole last reply, and it was not cut off before its verdict.
    replies = verdict.replies or ((verdict.rationale, "stop"),)
    again = judge.reread(presentation, replies)
    return again._replace(
        attempts=verdict.attempts,
        tokens=verdict.tokens,
        prompt_tokens=verdict.prompt_tokens,
        seconds=verdict.seconds,
        replies=verdict.replies,
    )
