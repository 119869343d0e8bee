"""A sweep in MLflow: a run for the study with a child run for each trial, made from Optuna's record and the report.

Optuna's storage is the source. Runs are written like those of rounds: found by key, compared by digest, and left or
superseded. Two workers, or a sweep that was killed, therefore never show a trial twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from arena_learning.core import Paths, first_line, logger, redacted
from arena_learning.sweep.records import Record
from arena_learning.sweep.study import Study
from arena_learning.tracking import (
    AttachedFile,
    MetricPoint,
    RunView,
    TableArtifact,
    as_params,
    md5,
    opened,
    register,
    slug,
    upsert,
)

STUDY = "study"
_STATUS = {"complete": "FINISHED", "pruned": "KILLED", "fail": "FAILED"}


def log_study(study: Study, paths: Paths, report: Mapping[str, Any] | None = None) -> None:
    """Show a study and its finished trials in MLflow; a failure is only a warning, as the journal has everything.

    Args:
        study: the study.
        paths: the project.
        report: the report of `report.write_report`, once there is one.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with opened(paths) as store:
            records = study.records()  # read under the lock: an older state must not replace a newer one
            shown = study_runs(study, records, report, paths)
            upsert(store, f"{store.project}/sweep/{study.name}", shown)
            templates = {t for r in records for t in r["shown"].get("templates", [])}
            register(store, (name.rsplit("@", 1)[0] for name in templates), paths.root)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        first = first_line(error)
        logger.warning(f"MLflow: {redacted(first)}; `arena sweep show {study.name}` shows the sweep instead")


def study_runs(
    study: Study, records: Iterable[Record], report: Mapping[str, Any] | None, paths: Paths
) -> list[RunView]:
    """Return the study's run, then the trials' runs; without a report the study's run has no results yet."""
    task = study.task
    trials = [_trial(one, study, report) for one in records]
    tags = {
        "arena.kind": "sweep",
        "arena.sweep": task.kind,
        "arena.study": study.name,
        "mlflow.note.content": f"Sweep of {task.subject}: {', '.join(task.objectives)}."
        if report is None
        else _note(report),
    }
    params = {"kind": task.kind, "subject": task.subject, "objectives": ", ".join(task.objectives)}
    for dimension in task.space:
        described = dimension.describe()
        params[f"space.{described.pop('path')}"] = str(described.get("choices", described))
    params |= {f"current.{path}": str(value) for path, value in task.current.items()}
    ended = max((trial.ended for trial in trials), default=0.0)
    whole = RunView(
        key=STUDY,
        title=study.name,
        params=as_params(params),
        tags=tags,
        points=_study_points(report) if report else (),
        tables=(_table(report),) if report else (),
        files=_files(report, study, paths) if report else (),
        seconds=sum(trial.seconds for trial in trials),
        ended=ended,
    )
    return [whole, *trials]


def _trial(one: Record, study: Study, report: Mapping[str, Any] | None) -> RunView:
    task, shown = study.task, one["shown"]
    points = [
        MetricPoint(f"objective/{slug(n)}", v) for n, v in zip(task.objectives, one["values"], strict=False)
    ]
    points += [MetricPoint(f"constraint/{slug(name)}", value) for name, value in one["constraints"].items()]
    points += [MetricPoint(slug_path(name), float(value)) for name, value in numeric_values(shown)]
    points += [MetricPoint("seconds", float(one["seconds"]))]
    tags = {
        "arena.kind": "trial",
        "arena.study": study.name,
        "arena.trial": str(one["number"]),
        "arena.state": one["state"],
        "arena.feasible": str(one["feasible"]).lower(),
        "arena.given_up": one["given_up"],
        "arena.retry_of": "" if one["retry_of"] is None else str(one["retry_of"]),
        "arena.carried_from": one["carried_from"],
        "arena.templates": ", ".join(shown.get("templates", [])),
        **{f"arena.reused.{slug(name)}": str(what) for name, what in one["reused"].items()},
    }
    if report is not None:
        tags["arena.role"] = ", ".join(
            role for role in ("incumbent", "best", "winner") if report.get(role) == one["number"]
        )
    return RunView(
        key=f"trial {one['number']}",
        title=f"trial {one['number']}",
        parent=STUDY,
        params=as_params(one["params"]),
        tags={key: value for key, value in tags.items() if value},
        points=tuple(points),
        status=_STATUS[one["state"]],
        seconds=float(one["seconds"]),
        ended=one["ended"],
    )


def _study_points(report: Mapping[str, Any]) -> tuple[MetricPoint, ...]:
    """Return the confirmation, the importances, and the first objective, with the trial's number as the step."""
    points = [MetricPoint("trials", float(len(report["trials"])))]
    first = slug(report["objectives"][0])
    points += [
        MetricPoint(f"objective/{first}", t["values"][0], t["number"])
        for t in report["trials"]
        if t["values"]
    ]
    points += [
        MetricPoint(f"importance/{slug(path)}", share) for path, share in report.get("importance", {}).items()
    ]
    for key in ("best", "winner", "incumbent"):
        if report.get(key) is not None:
            points.append(MetricPoint(key, float(report[key])))
    if "looks" in report:
        points.append(MetricPoint("confirmed/looks", float(report["looks"])))
    for row in report.get("confirmed", []):
        role = "winner" if row["trial"] == report["winner"] else f"trial_{row['trial']}"
        points += [
            MetricPoint(f"confirmed/{role}/{slug_path(name)}", value) for name, value in numeric_values(row)
        ]
    points += [
        MetricPoint(f"confirmed/against_current/{slug_path(name)}", value)
        for name, value in numeric_values(report.get("against_current") or {})
    ]
    return tuple(points)


def numeric_values(found: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    """Return the finite numbers of nested figures by name, without scores by item and lists."""
    listed: list[tuple[str, float]] = []
    for name, value in found.items():
        if name in ("gains", "left_out", "unscored_reasons", "trial"):
            continue
        if isinstance(value, Mapping):
            listed += numeric_values(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf"):
            listed.append((f"{prefix}{name}", float(value)))
    return listed


def slug_path(name: str) -> str:
    """Return a figure's name in the characters that MLflow allows."""
    return "/".join(slug(part) for part in name.split("/"))


def _table(report: Mapping[str, Any]) -> TableArtifact:
    paths = [dimension["path"] for dimension in report["space"]]
    columns = ("trial", "state", "feasible", *paths, *report["objectives"], "pruned")
    rows = []
    for trial in report["trials"]:
        values = trial["values"] or [None] * len(report["objectives"])
        tried = (str(trial["params"][path]) for path in paths)
        rows.append((trial["number"], trial["state"], trial["feasible"], *tried, *values, trial["given_up"]))
    return TableArtifact("tables/trials.json", columns, tuple(rows))


def _files(report: Mapping[str, Any], study: Study, paths: Paths) -> tuple[AttachedFile, ...]:
    pictures = sorted(paths.sweep_figures(study.name).glob("*.png"))
    files = [*((path, "figures") for path in pictures), (paths.sweep_report(study.name), "")]
    return tuple(AttachedFile(path, folder, md5(path)) for path, folder in files if path.is_file())


def _note(report: Mapping[str, Any]) -> str:
    winner = report.get("winner_params") or {}
    lines = [f"- `{path}`: {value}" for path, value in winner.items()]
    return "\n".join([f"Winner: trial {report.get('winner')} of {len(report['trials'])}.", *lines])
