"""Judges' games as MLflow traces: each is made from the files, found again by its id, and replaced if it changes.

A trace's id is a digest of its flywheel and its game, so that no game has two traces. They are written with MLflow's
tracing client and not with `mlflow.start_span`: that one sends them from a thread which only logs a failure, to the
address of the whole process, and adds the login name and git's remote to them.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from arena_learning.schema import FeedbackVerdict
from arena_learning.tracking.feedback import restored, restored_ids
from arena_learning.tracking.judge_calls import JudgeCall
from arena_learning.tracking.mlflow_store import MlflowStore
from arena_learning.tracking.writer import DIGEST, KEY, SCOPE

if TYPE_CHECKING:
    from mlflow.entities import Span, Trace, TraceInfo

_PROJECT = "arena.project"
_PREVIEW = 1000  # characters of the instruction in MLflow's list of traces
_PAGE = 500  # the most traces that MLflow returns at once


class WrittenTraces(NamedTuple):
    """Numbers of traces that were written, left unchanged, and removed."""

    logged: int
    unchanged: int
    removed: int


def upsert_traces(
    store: MlflowStore,
    scope: str,
    calls: Sequence[JudgeCall],
    known: Iterable[Trace],
    feedback: Sequence[FeedbackVerdict],
    *,
    rebuild: bool = False,
) -> WrittenTraces:
    """Make the store show ``calls`` under ``scope``, with people's verdicts on them; other traces of it are removed.

    Args:
        store: the open store.
        scope: project, experiment and parameters, as of the runs.
        calls: the games to show.
        known: the project's traces (`find_traces`).
        feedback: people's verdicts; those on other texts than a trace shows are left out.
        rebuild: write all traces again, even unchanged ones.
    """
    there = {trace.info.trace_id: trace for trace in known if trace.info.tags.get(SCOPE) == scope}
    ids = {_trace_id(scope, call): call for call in calls}
    same = {
        key
        for key, call in ids.items()
        if not rebuild and key in there and there[key].info.tags.get(DIGEST) == call.digest()
    }
    # Also those that will be written: a kill may have left one without its span, which no search finds.
    gone = sorted({*there, *ids} - same)
    if gone:
        store.client.delete_traces(experiment_id=store.experiment, trace_ids=gone)
    for key, call in ids.items():
        given = restored(call, feedback)
        if key in same:
            _add_missing(store, there[key], given)
        else:
            _write(store, scope, key, call, given)
    return WrittenTraces(len(ids) - len(same), len(same), len(set(gone) - ids.keys()))


def find_traces(store: MlflowStore) -> Iterator[Trace]:
    """Yield the project's traces of all flywheels, with their spans and people's verdicts."""
    token = None
    while True:
        page = store.client.search_traces(
            locations=[store.experiment],
            filter_string=f"tags.`{_PROJECT}` = '{store.project}'",
            max_results=_PAGE,
            page_token=token,
        )
        yield from page
        token = page.token
        if not token:
            return


def _trace_id(scope: str, call: JudgeCall) -> str:
    return "tr-" + hashlib.sha256(f"{scope} {call.key}".encode()).hexdigest()[:32]


def _add_missing(store: MlflowStore, trace: Trace, given: Sequence[Any]) -> None:
    """Add people's verdicts that the trace lacks, such as those of a colleague that came by git."""
    known = restored_ids(trace)
    for ident, assessment in given:
        if ident not in known:
            _client(store).log_assessment(trace.info.trace_id, assessment)


def _write(
    store: MlflowStore, scope: str, key: str, call: JudgeCall, given: Sequence[tuple[str, Any]]
) -> None:
    """Write a trace; its digest is set last, so that one without is incomplete and is replaced."""
    client = _client(store)
    client.start_trace(_info(store, scope, key, call, [assessment for _, assessment in given]))
    client.log_spans(store.experiment, [_span(key, call)])
    store.client.set_trace_tag(key, DIGEST, call.digest())


def _client(store: MlflowStore) -> Any:
    from mlflow.tracing.client import TracingClient

    return TracingClient(store.uri)


def _times(call: JudgeCall) -> tuple[int, int]:
    """Return start and end in milliseconds since 1970."""
    ended = int(call.ended * 1000)
    return ended - int(call.seconds * 1000), ended


def _info(store: MlflowStore, scope: str, key: str, call: JudgeCall, given: list[Any]) -> TraceInfo:
    from mlflow.entities import TraceInfo, TraceLocation, TraceState
    from mlflow.tracing.constant import TRACE_SCHEMA_VERSION, TRACE_SCHEMA_VERSION_KEY, TraceTagKey

    began, ended = _times(call)
    scores = f"{call.game.score_first:g} to {call.game.score_second:g}" if call.outcome != "unscored" else ""
    own = {SCOPE: scope, KEY: call.key, _PROJECT: store.project, TraceTagKey.TRACE_NAME: _name(call)}
    return TraceInfo(
        trace_id=key,
        trace_location=TraceLocation.from_experiment_id(store.experiment),
        request_time=began,
        execution_duration=ended - began,
        state=TraceState.ERROR if call.outcome == "unscored" else TraceState.OK,
        request_preview=call.instruction.text[:_PREVIEW],
        response_preview=f"{call.outcome} {scores}".strip(),
        trace_metadata={TRACE_SCHEMA_VERSION_KEY: str(TRACE_SCHEMA_VERSION)},
        tags={**call.tags(), **own},
        assessments=given,
    )


def _name(call: JudgeCall) -> str:
    return f"judge {call.round}"


def _span(key: str, call: JudgeCall) -> Span:
    """Return the only span of a trace, from the form in which MLflow stores spans."""
    from mlflow.entities import Span, SpanType
    from mlflow.tracing.constant import SpanAttributeKey

    began, ended = (milliseconds * 1_000_000 for milliseconds in _times(call))
    trace = bytes.fromhex(key.removeprefix("tr-"))
    attributes: Mapping[str, object] = {
        SpanAttributeKey.REQUEST_ID: key,
        SpanAttributeKey.SPAN_TYPE: SpanType.EVALUATOR,
        SpanAttributeKey.INPUTS: call.inputs(),
        SpanAttributeKey.OUTPUTS: call.outputs(),
    }
    failed = call.outcome == "unscored"
    return Span.from_dict(
        {
            "trace_id": base64.b64encode(trace).decode(),
            "span_id": base64.b64encode(trace[:8]).decode(),
            "parent_span_id": None,
            "name": _name(call),
            "start_time_unix_nano": began,
            "end_time_unix_nano": ended,
            "events": [],
            "status": {"code": "STATUS_CODE_ERROR" if failed else "STATUS_CODE_OK", "message": ""},
            "attributes": {name: json.dumps(value) for name, value in attributes.items()},
        }
    )
