"""The `track` stage: make MLflow show the project's files."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from arena_learning.core import ArenaError, Paths, canonical, first_line, redacted
from arena_learning.params import Params
from arena_learning.schema import read_decisions
from arena_learning.tracking.audits import AUDITS, audit_views
from arena_learning.tracking.feedback import collect_feedback, read_feedback
from arena_learning.tracking.files import read_files
from arena_learning.tracking.judge_calls import JudgeCalls, draw_judge_calls
from arena_learning.tracking.metric_names import slug
from arena_learning.tracking.mlflow_store import MlflowStore, opened, settle_environment, store_uri
from arena_learning.tracking.prompts import judges_of, register, show_aliases, templates_of
from arena_learning.tracking.traces import find_traces, upsert_traces
from arena_learning.tracking.versions import show_versions
from arena_learning.tracking.views import experiment, run_views, stale
from arena_learning.tracking.writer import upsert

WORKSPACE = "workspace"
# Parameters that change no model and no figure of a run.
UNSEEN = {"gate", "track", "prices", "budget"}


@dataclass
class TrackReport:
    """The result of `track_project`.

    Attributes:
        store: URI of the store.
        logged: titles of the runs that were written.
        unchanged: titles of the runs that were up to date.
        removed: titles of the runs whose files no longer exist.
        prompts: judges' templates (``name@digest``) with their versions in the prompt registry.
        traces: number of judges' games that are shown as traces.
        traces_logged: how many of them were written.
        feedback: number of people's verdicts on traces, in feedback.jsonl.
        feedback_new: how many of them are new there, or were changed.
        versions: versions of the registered model, such as ``arena-learning/2``, by alias.
        warnings: what the user should check; after a failure, the last one gives the reason.
        failed: whether tracking stopped early; the store then shows its earlier state, or part of the new one.
        seconds: duration.
    """

    store: str
    logged: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    prompts: dict[str, str] = field(default_factory=dict)
    traces: int = 0
    traces_logged: int = 0
    feedback: int = 0
    feedback_new: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    failed: bool = False
    seconds: float = 0.0


def track_project(params: Params, paths: Paths, rebuild: bool = False) -> TrackReport:
    """Show the project's files in MLflow; a second call updates only what has changed.

    All files are read before anything is written, so a malformed file leaves the store unchanged. A failure is reported
    and not raised, because the runs are only a view of the files.

    Args:
        params: the current parameters.
        paths: the project.
        rebuild: write all runs, all traces, and all versions of the registered model again from the files.
    """
    began = time.monotonic()
    report = TrackReport(store=redacted(store_uri(paths)))
    with _forgiven(report):
        files = read_files(params, paths)
        report.warnings += stale(files, params)
        decisions = read_decisions(paths.registry)
        shown, audits = run_views(files, params, paths), audit_views(paths)
        drawn = draw_judge_calls(params, paths)
        read_feedback(paths)  # a malformed file is told before anything is written
        if not shown:
            report.warnings.append(
                "nothing to show: no stage of a round has written a file; run `arena repro`"
            )
        with opened(paths) as store:
            for where, some in ((scope(store.project, params), shown), (audit_scope(store.project), audits)):
                done = upsert(store, where, some, rebuild=rebuild)
                report.logged += done.logged
                report.unchanged += done.unchanged
                report.removed += done.removed
            _show_traces(store, drawn, params, paths, report, rebuild=rebuild)
            report.prompts = register(store, templates_of(params), paths.root)
            show_aliases(store, judges_of(params), paths.root)
            registered = show_versions(store, decisions, params.gate.name, paths, rebuild=rebuild)
            report.versions = registered.aliases
            report.warnings += registered.warnings
    report.seconds = round(time.monotonic() - began, 2)
    return report


def _show_traces(
    store: MlflowStore,
    drawn: JudgeCalls,
    params: Params,
    paths: Paths,
    report: TrackReport,
    *,
    rebuild: bool,
) -> None:
    """Read people's verdicts on traces into their file, then show the drawn games with them.

    The file is read again: another process may have added to it while this one waited for the store.
    """
    known = list(find_traces(store))
    given = collect_feedback(known, read_feedback(paths), paths)
    own = scope(store.project, params)
    written = upsert_traces(store, own, drawn.calls, known, given.rows, rebuild=rebuild)
    report.traces, report.traces_logged = len(drawn.calls), written.logged
    report.feedback, report.feedback_new = len(given.rows), given.new
    report.warnings += given.warnings
    if drawn.incomplete:
        report.warnings.append(
            f"{drawn.incomplete} of the drawn games are not shown as traces: "
            "their instruction or an answer is missing; run `arena repro`"
        )


def scope(project: str, params: Params) -> str:
    """Return the scope of a flywheel's runs: the project, the DVC experiment, and all parameters.

    Other parameters make another flywheel in the same store, so that the two can be compared. Those of
    `UNSEEN` change nothing that a run shows.
    """
    digest = hashlib.sha256(canonical(params.model_dump(mode="json", exclude=UNSEEN)).encode()).hexdigest()
    return "/".join((project, slug(experiment() or WORKSPACE), digest[:12]))


def audit_scope(project: str) -> str:
    """Return the scope of a project's audits, which belong to a judge and labels rather than a flywheel."""
    return f"{project}/{AUDITS}"


@contextmanager
def _forgiven(report: TrackReport) -> Iterator[None]:
    """Turn errors of files, databases and servers into a warning."""
    settle_environment()
    import sqlite3

    from alembic.util.exc import CommandError
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except ArenaError as error:
        report.warnings.append(redacted(str(error)))
        report.failed = True
    except (MlflowException, SQLAlchemyError, CommandError, sqlite3.Error, OSError) as error:
        first = first_line(error)
        hint = "fix this, then run `arena track` again"
        if "locate revision" in str(error) or "out-of-date database schema" in str(error):
            first = f"its database was written by another version of MLflow ({first})"
            hint = (
                "install that version, or move the database away (`mv mlruns mlruns.old`) and run `arena track`: it "
                "writes all rounds and audits again, but not the trials of sweeps"
            )
        report.warnings.append(redacted(f"MLflow ({report.store}): {first}\n  hint: {hint}"))
        report.failed = True
