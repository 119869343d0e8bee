"""The result of a sweep: its report file and the printed table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from arena_learning.core import ArenaError, Paths, Table, logger, read_json, table_text, write_json
from arena_learning.sweep.figures import draw_study, importance
from arena_learning.sweep.records import Record
from arena_learning.sweep.space import size, values_digest
from arena_learning.sweep.study import Study
from arena_learning.sweep.task import Task

_INNER = ("items", "started", "ended")


def ranked(records: Sequence[Record], task: Task) -> list[Record]:
    """Return the feasible trials sorted by the first objective, best first; among equals, the earlier trial."""
    sign = -1.0 if task.objectives[0].startswith("-") else 1.0
    return sorted((r for r in records if r["feasible"]), key=lambda r: (-sign * r["values"][0], r["number"]))


def incumbent(records: Sequence[Record], task: Task) -> Record | None:
    """Return the trial of the current values, if it has finished."""
    return next((r for r in records if r["params"] == task.current), None)


def check_feasible(study: Study) -> None:
    """Check that a study has a feasible trial.

    Raises:
        ArenaError: it has none; the error names the broken limits and the smallest distance to each.
    """
    records = study.records()
    if any(r["feasible"] for r in records):
        return
    limits = sorted({name for r in records for name, value in r["constraints"].items() if value > 0})
    least = {n: min(r["constraints"][n] for r in records if n in r["constraints"]) for n in limits}
    near = ", ".join(f"{name}: at least {value:.2f} beyond the limit" for name, value in least.items())
    failed = sorted({r["given_up"] for r in records if r["state"] == "fail"})
    raise ArenaError(
        f"none of {len(records)} trials is feasible ({'; '.join([near, *failed]).strip('; ')})",
        where=study.name,
        hint="loosen the limits or try other values; the trials are kept, nothing else was written",
    )


def confirmed_already(
    study: Study, paths: Paths, chosen: Sequence[int], half: Sequence[str]
) -> dict[str, Any] | None:
    """Return the report of an earlier call if it is still valid, else None.

    It is if no trial has finished since and the same trials were measured on the same half. Reading it is no new look.
    """
    path = paths.sweep_report(study.name)
    if not path.is_file():
        return None
    report: dict[str, Any] = read_json(path)
    same = (
        report.get("half") == values_digest(list(half))
        and [t["number"] for t in report["trials"]] == [r["number"] for r in study.records()]
        and [row["trial"] for row in report["confirmed"]] == list(chosen)
    )
    if not same:
        return None
    logger.info(
        "no trial has finished since the last confirmation: its report is shown, without another look at the half"
    )
    return report


def write_report(study: Study, paths: Paths, found: Mapping[str, Any]) -> dict[str, Any]:
    """Write the sweep's report file and figures, and return the report.

    Args:
        study: the study.
        paths: the project.
        found: results besides the trials, such as the confirmation.
    """
    task, records = study.task, study.records()
    best = ranked(records, task)
    now = incumbent(records, task)
    report: dict[str, Any] = {
        "study": study.name,
        "kind": task.kind,
        "subject": task.subject,
        "objectives": list(task.objectives),
        "space": [dimension.describe() for dimension in task.space],
        "combinations": size(task.space),
        "current": task.current,
        "trials": [{key: value for key, value in r.items() if key not in _INNER} for r in records],
        "best": best[0]["number"] if best else None,
        "incumbent": now["number"] if now else None,
        "pareto": [t.number for t in study.optuna.best_trials] if len(task.objectives) > 1 else [],
        **found,
    }
    report["importance"] = importance(report, task.seed)
    write_json(paths.sweep_report(study.name), report)
    draw_study(report, paths.sweep_figures(study.name))
    return report


def trials_table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as aligned columns, the first one left-aligned; the first row is the header."""
    return table_text(Table(rows[0], rows[1:]), rule=False)


def gain_interval(found: Mapping[str, Any], unit: float = 1.0, digits: int = 2) -> str:
    """Return ``mean [lower, upper]``."""
    mean, lower, upper = (found[key] * unit for key in ("mean", "lower", "upper"))
    return f"{mean:+.{digits}f} [{lower:+.{digits}f}, {upper:+.{digits}f}]"


def shown_value(value: Any) -> str:
    """Return a parameter's value as a table cell."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return "+".join(map(str, value)) or "all"
    return str(value)


def summaries(paths: Paths) -> list[str]:
    """Return one line for each finished sweep."""
    lines = []
    for path in sorted(paths.sweep_report("any").parent.glob("*.json")):
        found = read_json(path)
        lines.append(f"{found['study']}: {len(found['trials'])} trials, winner trial {found['winner']}")
    return lines or ["no finished sweep"]
