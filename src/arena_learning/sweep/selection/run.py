"""`arena sweep selection`: the trials, the confirmation of the best few, the report."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from arena_learning.core import Paths, logger
from arena_learning.params import Params
from arena_learning.sweep import report as written
from arena_learning.sweep.looks import corrected, looks_line, marks, note_look
from arena_learning.sweep.records import Record
from arena_learning.sweep.selection.task import SelectionTask
from arena_learning.sweep.space import values_digest
from arena_learning.sweep.statistics import detectable, deviation, estimate, holm, paired_test
from arena_learning.sweep.study import Study
from arena_learning.sweep.workers import (
    WorkerProcesses,
    check_count,
    end_with_parent,
    is_helper,
    run_worker,
    values_line,
)

Log = Callable[[Study, dict[str, Any] | None], object]


def sweep_selection(
    name: str,
    params: Params,
    paths: Paths,
    *,
    space: Mapping[str, Any],
    trials: int,
    workers: int = 1,
    url: str = "",
    judges: Sequence[str] = (),
    confirm: int = 3,
    log: Log = lambda study, report: None,
) -> dict[str, Any]:
    """Optimise a round's selection and training; return the report (empty in a process that another worker started).

    Args:
        name: the round.
        params: the current parameters.
        paths: the project.
        space: the search space; see `spaces.selection_space`.
        trials: the number of finished trials to reach, those of earlier calls included.
        workers: number of processes.
        url: URL of Optuna's storage; empty for the project's journal.
        judges: the objectives; by default the first judge of the leaderboard.
        confirm: number of best trials to measure again on the other half of the validation set.
        log: shows the study elsewhere; called after each trial, and with the report at the end.
    """
    check_count("--trials", trials)
    check_count("--workers", workers)
    end_with_parent()
    task = SelectionTask(name, params, paths, space, judges)
    study = Study(task, paths, url=url, trials=trials)
    try:
        if not is_helper():
            logger.info(f"study {study.name}: {announcement(study, task)}")

        def after() -> None:
            tidy(study, task, keep=confirm)
            log(study, None)

        with WorkerProcesses(workers - 1):
            run_worker(study, task, after)
        if is_helper():
            return {}
        with study.locked("confirm"):
            written.check_feasible(study)
            report = confirm_selection(study, task, confirm)
        log(study, report)
        return report
    finally:
        task.close()


def announcement(study: Study, task: SelectionTask) -> str:
    """Return a line that says what the sweep will do."""
    finished, running = study.counts()
    parts = [f"{len(task.battles)} judged battles reused", f"{len(task.tune)} instructions to tune on"]
    parts += [f"{len(task.confirm)} to confirm on", f"{finished} of {study.trials} trials finished"]
    parts += [f"{running} running or cut off"] * bool(running)
    parts += [f"{study.carried} reused from another space"] * bool(study.carried)
    return ", ".join(parts)


def tidy(study: Study, task: SelectionTask, keep: int) -> None:
    """Remove the models (half a gigabyte each) of finished trials that will not be confirmed."""
    with study.locked():
        records = study.records()
        best = distinct(written.ranked(records, task))[:keep]
        now = written.incumbent(records, task)
        kept = {r["shown"].get("training") for r in [*best, *([now] if now else [])]}
        for one in records:
            training = one["shown"].get("training")
            if training and training not in kept:
                shutil.rmtree(study.paths.sweep_models / training, ignore_errors=True)


def distinct(records: Sequence[Record]) -> list[Record]:
    """Return the first of the trials that share a training."""
    found: dict[str, Record] = {}
    for one in records:
        found.setdefault(one["shown"].get("training", str(one["number"])), one)
    return list(found.values())


def confirm_selection(study: Study, task: SelectionTask, count: int) -> dict[str, Any]:
    """Measure the best few trials and the current values on held-out instructions; write the report.

    The winner is the best of those few there. p values are adjusted by Holm's method for their number and multiplied by
    the number of looks at that half, those of other studies included. The gain on the first half is that of the best of
    many trials and therefore too high; the gain here is nearly unbiased.
    """
    records = study.records()
    now = written.incumbent(records, task)
    best = [r for r in distinct(written.ranked(records, task)) if r is not now][:count]
    chosen = [*([now] if now and now["feasible"] else []), *best]
    numbers = [one["number"] for one in chosen]
    half = marks([turn.model_dump(mode="json") for turn in i.turns] for i in task.confirm)
    if (report := written.confirmed_already(study, study.paths, numbers, half)) is not None:
        return report
    gains = {}
    for one in chosen:
        logger.info(f"confirming trial {one['number']}: {values_line(one['params'])}")
        folder = task.again(one["params"])
        gains[one["number"]] = task.measure(folder, task.params, task.confirm).gains
    looks = note_look(study.paths, study.name, half, numbers)
    rows = [_confirmed(one, now, gains, task) for one in chosen]
    tested = [row for row in rows if row["against_current"] is not None]
    for row, p in zip(tested, holm([row["against_current"]["p"] for row in tested]), strict=True):
        row["against_current"]["p_holm"] = corrected(p, looks)
    first = task.objectives[0]
    winner = max(rows, key=lambda row: (row["estimates"][first]["mean"], -row["trial"]), default=None)
    found = {
        "instructions": {"tune": len(task.tune), "confirm": len(task.confirm)},
        "half": values_digest(half),
        "looks": looks,
        "confirmed": rows,
        "winner": winner["trial"] if winner else None,
        "winner_params": next(
            (r["params"] for r in chosen if winner and r["number"] == winner["trial"]), None
        ),
    }
    return written.write_report(study, study.paths, found)


def _confirmed(
    one: Record,
    now: Record | None,
    gains: Mapping[int, Mapping[str, Mapping[str, float]]],
    task: SelectionTask,
) -> dict[str, Any]:
    own, first = gains[one["number"]], task.objectives[0]
    row: dict[str, Any] = {
        "trial": one["number"],
        "estimates": task.estimates({judge: dict(by) for judge, by in own.items()}),
        "against_current": None,
    }
    if now is not None and now["number"] in gains and one is not now:
        base = gains[now["number"]][first]
        differences = [own[first][i] - base[i] for i in own[first] if i in base]
        row["against_current"] = {
            **estimate(differences, task.seed)._asdict(),
            "p": paired_test(differences, task.seed),
            "detectable": detectable(deviation(differences), len(differences)),
        }
    return row


def selection_table(report: Mapping[str, Any]) -> str:
    """Return a sweep's trials and its confirmation as text."""
    paths = [dimension["path"] for dimension in report["space"]]
    first = report["objectives"][0]
    head = ["trial", *(path.rsplit(".", 1)[-1] for path in paths), "rows"]
    rows = [[*head, f"gain by {first}", "detectable", "words", "cut off", "repeats", "s", ""]]
    for one in report["trials"]:
        shown, answers = one["shown"], one["shown"].get("answers", {})
        measured = shown.get("estimates", {}).get(first)
        notes = [one["given_up"]] * bool(one["given_up"])
        notes += ["current"] * (one["number"] == report["incumbent"])
        notes += ["best"] * (one["number"] == report["best"])
        notes += [f"as trial {n}" for key, n in one["reused"].items() if key == "training of trial"]
        rows.append(
            [
                str(one["number"]),
                *(written.shown_value(one["params"][path]) for path in paths),
                str(shown.get("rows", "-")),
                written.gain_interval(measured) if measured else "-",
                f"{measured['detectable']:.2f}" if measured else "-",
                f"{answers['mean_words']:.0f}" if answers else "-",
                str(answers.get("cut_off", "-")),
                f"{answers['repetition']:.2f}" if answers else "-",
                f"{one['seconds']:.0f}",
                "; ".join(notes),
            ]
        )
    lines = [
        f"{report['study']}: {report['subject']} against its start, mean paired difference of scores (1 to 10), 95 %",
        written.trials_table(rows),
        "",
        f"confirmed on {report['instructions']['confirm']} other instructions:",
        *_confirmation_lines(report, first),
        looks_line(report),
    ]
    return "\n".join(lines)


def _confirmation_lines(report: Mapping[str, Any], first: str) -> list[str]:
    judges = list(report["confirmed"][0]["estimates"]) if report["confirmed"] else []
    rows = [
        ["trial", *(f"by {judge}" for judge in judges), "detectable", "against the current one", "p (Holm)"]
    ]
    for row in report["confirmed"]:
        against = row["against_current"]
        rows.append(
            [
                str(row["trial"]),
                *(written.gain_interval(row["estimates"][judge]) for judge in judges),
                f"{row['estimates'][first]['detectable']:.2f}",
                written.gain_interval(against) if against else "current",
                f"{against['p_holm']:.3f}" if against else "-",
            ]
        )
    return [written.trials_table(rows), f"winner: trial {report['winner']}: {report['winner_params']}"]
