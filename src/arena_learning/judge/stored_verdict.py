"""What the store remembers of verdicts: under which key, in which form, and how it is read again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from arena_learning.judge.base import Judge, Presentation, RereadingJudge, Verdict, VersionedJudge
from arena_learning.store import store_key


def verdict_key(
    judge: Judge, presentation: Presentation, fingerprint: Mapping[str, str] | None = None
) -> bytes:
    """Return the game's key: contents only, so that a renamed contestant is judged by what is remembered.

    ``fingerprint``: the judge's, where it is not the present one.
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
    """Return what the store remembers of a verdict, and how its replies were read."""
    fields = verdict._asdict()
    if not verdict.replies:
        del fields["replies"]
    if not verdict.refused:
        del fields["refused"]
    del fields["passing"]
    return fields | ({"parser": parser_version} if parser_version else {})


def read_verdict(value: Mapping[str, Any], judge: Judge, presentation: Presentation) -> Verdict:
    """Return a verdict as the store has it; replies that were read by another parser are read again."""
    fields = {name: item for name, item in value.items() if name in Verdict._fields}
    verdict = Verdict(**fields)
    verdict = verdict._replace(replies=tuple((text, reason) for text, reason in verdict.replies))
    if (
        not isinstance(judge, RereadingJudge)
        or value.get("parser") == judge.parser_version
        or verdict.refused
    ):
        return verdict
    # Before replies were kept, the rationale was the last one whole; it had a verdict, so it was not cut off before it.
    replies = verdict.replies or ((verdict.rationale, "stop"),)
    again = judge.reread(presentation, replies)
    return again._replace(
        attempts=verdict.attempts, tokens=verdict.tokens, seconds=verdict.seconds, replies=verdict.replies
    )
