"""An ablation in MLflow: a run with its figures and files, and a child run for each arm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from arena_learning.core import Paths, first_line, logger, redacted
from arena_learning.report import ablation_tables
from arena_learning.sweep.mlflow_runs import numeric_values, slug_path
from arena_learning.tracking import (
    AttachedFile,
    MetricPoint,
    RunView,
    TableArtifact,
    as_params,
    md5,
    opened,
    slug,
    upsert,
)

WHOLE = "ablation"


def log_ablation(paths: Paths, report: Mapping[str, Any]) -> None:
    """Show an ablation in MLflow; a failure is only a warning, as the report has everything."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with opened(paths) as store:
            upsert(store, f"{store.project}/ablation/{report['name']}", ablation_runs(report, paths))
    except (MlflowException, SQLAlchemyError, OSError) as error:
        first = first_line(error)
        logger.warning(f"MLflow: {redacted(first)}; the report is in {paths.ablations}")


def ablation_runs(report: Mapping[str, Any], paths: Paths) -> list[RunView]:
    """Return the ablation's run, then those of its arms."""
    tables = ablation_tables(report)
    files = [paths.ablations / f"{report['name']}.{kind}" for kind in ("json", "html", "png")]
    ended = max((file.stat().st_mtime for file in files if file.is_file()), default=0.0)
    whole = RunView(
        key=WHOLE,
        title=report["name"],
        params=as_params(
            {
                key: str(report[key])
                for key in ("factor", "round", "method", "start", "split", "rows", "seeds")
            }
        ),
        tags={
            "arena.kind": "ablation",
            "arena.ablation": report["factor"],
            "mlflow.note.content": "\n\n".join([tables.title, *tables.notes]),
        },
        points=tuple(_points(report)),
        tables=(
            _table("arms", *tables.arms),
            *([_table("differences", *tables.differences)] if tables.differences[1] else []),
        ),
        files=tuple(AttachedFile(file, "", md5(file)) for file in files if file.is_file()),
        seconds=sum(sum(arm["seconds"]) for arm in report["arms"]),
        ended=ended,
    )
    return [whole, *(_arm(arm, report, ended) for arm in report["arms"])]


def _arm(arm: Mapping[str, Any], report: Mapping[str, Any], ended: float) -> RunView:
    figures = {"gain": arm["judges"], "answers": arm["answers"], "rows": sum(arm["rows"]) / len(arm["rows"])}
    points = [MetricPoint(slug_path(name), value) for name, value in numeric_values(figures)]
    points += [
        MetricPoint(f"gain/{slug(judge)}/by_seed", value, step)
        for judge, own in arm["judges"].items()
        for step, value in enumerate(own["by_seed"])
    ]
    return RunView(
        key=f"arm {arm['name']}",
        title=f"{report['factor']} {arm['name']}",
        parent=WHOLE,
        params=as_params({path: str(value) for path, value in arm["values"].items()}),
        tags={"arena.kind": "arm", "arena.ablation": report["factor"], "arena.arm": arm["name"]},
        points=tuple(points),
        status="FINISHED" if arm["judges"] else "FAILED",
        seconds=sum(arm["seconds"]),
        ended=ended,
    )


def _points(report: Mapping[str, Any]) -> Iterator[MetricPoint]:
    yield MetricPoint("looks", float(report["looks"]))
    for row in report["differences"]:
        place = f"difference/{slug(row['judge'])}/{slug(row['arm'])}"
        for key in ("mean", "lower", "upper", "p", "p_holm", "detectable", "needed"):
            if row[key] is not None:
                yield MetricPoint(f"{place}/{key}", float(row[key]))


def _table(name: str, head: list[str], rows: list[list[str]]) -> TableArtifact:
    return TableArtifact(f"tables/{name}.json", tuple(head), tuple(map(tuple, rows)))
