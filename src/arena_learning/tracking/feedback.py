"""People's verdicts on traces: read from MLflow into feedback.jsonl, and put back on traces that are made again.

A verdict is MLflow's feedback with the name `winner` and the value `first`, `second`, `tie` or the like, from a person.
The file is the truth: nothing is taken out of it, unless a person has overridden the verdict in MLflow.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from arena_learning.core import Paths
from arena_learning.schema import FeedbackVerdict, VotedWinner, read_rows, read_winner, write_rows
from arena_learning.tracking.judge_calls import JudgeCall

if TYPE_CHECKING:
    from mlflow.entities import Assessment, Trace

NAME = "winner"
_ID = "arena.feedback"  # a verdict's id, in the metadata of feedback that was put back
_HUMAN = "HUMAN"
_SOURCE = "mlflow"


class CollectedFeedback(NamedTuple):
    """The verdicts of feedback.jsonl, the number of new or changed ones, and what was passed over."""

    rows: list[FeedbackVerdict]
    new: int
    warnings: list[str]


def read_feedback(paths: Paths) -> list[FeedbackVerdict]:
    """Return the verdicts of feedback.jsonl; none if there is no such file.

    Raises:
        ArenaError: the file is malformed.
    """
    return read_rows(paths.feedback, FeedbackVerdict) if paths.feedback.is_file() else []


def collect_feedback(
    traces: Iterable[Trace], known: Sequence[FeedbackVerdict], paths: Paths
) -> CollectedFeedback:
    """Add people's verdicts on the traces to feedback.jsonl; the file is left alone if there is nothing new.

    Args:
        traces: the project's traces, with their spans.
        known: the verdicts of the file.
        paths: the project.
    """
    before = {row.id: row for row in known}
    rows = dict(before)
    passed: Counter[str] = Counter()
    for trace in traces:
        for given in trace.info.assessments or []:
            if given.feedback is None or given.source.source_type != _HUMAN:
                continue
            winner = read_winner(given.feedback.value) if given.name == NAME else None
            if winner is None:
                passed[f"{given.name} {given.feedback.value!r}"] += 1
            elif given.valid is False:
                rows.pop(_ident(given), None)
            else:
                row = _row(trace, given, winner)
                rows[row.id] = row
    if rows != before:
        write_rows(paths.feedback, list(rows.values()))
    new = sum(before.get(ident) != row for ident, row in rows.items())
    return CollectedFeedback(list(rows.values()), new, _warnings(passed))


def restored(call: JudgeCall, rows: Sequence[FeedbackVerdict]) -> list[tuple[str, Any]]:
    """Return the verdicts on a game as MLflow's feedback, each with its id; none on other texts than these."""
    from mlflow.entities import AssessmentSource, Feedback

    found = []
    for row in rows:
        if not _same(call, row):
            continue
        at = int(datetime.fromisoformat(row.when).timestamp() * 1000)
        source = AssessmentSource(source_type=_HUMAN, source_id=row.reviewer or "unknown")
        feedback = Feedback(
            name=NAME,
            value=row.said,
            source=source,
            rationale=row.note or None,
            metadata={_ID: row.id},
            create_time_ms=at,
            last_update_time_ms=at,
        )
        found.append((row.id, feedback))
    return found


def restored_ids(trace: Trace) -> set[str]:
    """Return the ids of the verdicts that a trace has."""
    return {_ident(given) for given in trace.info.assessments or [] if given.feedback is not None}


def _same(call: JudgeCall, row: FeedbackVerdict) -> bool:
    game = call.game
    names = (call.round, game.judge, game.instruction_id, game.first, game.second)
    texts = (call.instruction.turns, call.first, call.second)
    return (
        names == (row.round, row.judge, row.instruction_id, row.model_a, row.model_b)
        and texts == (row.turns, row.response_a, row.response_b)
        and row.source == _SOURCE
    )


def _ident(given: Assessment) -> str:
    """Return a verdict's id: the one that it was put back with, or else a new one."""
    known = (given.metadata or {}).get(_ID)
    parts = (given.trace_id, given.source.source_id, given.create_time_ms)
    return str(known or hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:16])


def _row(trace: Trace, given: Assessment, winner: VotedWinner) -> FeedbackVerdict:
    tags, shown = trace.info.tags, trace.data.spans[0].inputs
    when = datetime.fromtimestamp((given.create_time_ms or 0) / 1000, UTC)
    return FeedbackVerdict(
        id=_ident(given),
        round=tags["arena.round"],
        instruction_id=tags["arena.instruction_id"],
        judge=tags["arena.judge"],
        model_a=tags["arena.first"],
        model_b=tags["arena.second"],
        label=winner,
        said=str(given.feedback.value),
        reviewer=given.source.source_id or "",
        when=when.strftime("%Y-%m-%dT%H:%M:%SZ"),
        note=given.rationale or "",
        turns=shown["messages"],
        response_a=shown["first"],
        response_b=shown["second"],
        category=tags.get("arena.category", "other"),
        source=_SOURCE,
        reference=shown.get("reference"),
        rubric=shown.get("rubric", ()),
    )


def _warnings(passed: Counter[str]) -> list[str]:
    if not passed:
        return []
    said = ", ".join(f"{what} ({count})" for what, count in sorted(passed.items())[:5])
    return [
        f"people's feedback on traces that is no verdict was passed over: {said}; "
        f"name it '{NAME}', with the value first, second, tie or both_bad"
    ]
