"""`arena sweep judge`: the trials, one confirmation on the other half, the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from arena_learning.core import Paths, logger
from arena_learning.params import Params
from arena_learning.sweep import report as written
from arena_learning.sweep.judge.task import DISCORDANCE, Judgement, JudgeTask, Limits
from arena_learning.sweep.looks import corrected, looks_line, marks, note_look
from arena_learning.sweep.records import Record
from arena_learning.sweep.space import override, values_digest
from arena_learning.sweep.statistics import by_cluster, detectable, deviation, estimate, paired_test
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


def sweep_judge(
    name: str,
    params: Params,
    paths: Paths,
    *,
    space: Mapping[str, Any],
    file: Path,
    trials: int,
    workers: int = 1,
    url: str = "",
    objectives: Sequence[str] = (),
    limits: Limits = Limits(),  # noqa: B008  frozen
    log: Log = lambda study, report: None,
) -> dict[str, Any]:
    """Optimise a judge on labelled pairs; return the report (empty in a process that another worker started).

    Args:
        name: the judge.
        params: the current parameters.
        paths: the project.
        space: the search space; see `spaces.judge_space`.
        file: labelled pairs.
        trials: the number of finished trials to reach, those of earlier calls included.
        workers: number of processes.
        url: URL of Optuna's storage; empty for the project's journal.
        objectives: some of ``agreement``, ``-tokens``, ``-flips``.
        limits: the constraints.
        log: shows the study elsewhere; called after each trial, and with the report at the end.

    Raises:
        ArenaError: an invalid task (see `JudgeTask`), or no trial is within the limits.
    """
    check_count("--trials", trials)
    check_count("--workers", workers)
    end_with_parent()
    task = JudgeTask(name, params, paths, space, file, limits, objectives)
    study = Study(task, paths, url=url, trials=trials)
    try:
        if not is_helper():
            finished, _ = study.counts()
            least = detectable(DISCORDANCE**0.5, len(task.tune))
            logger.info(
                f"study {study.name}: {len(task.tune)} pairs to tune on, {len(task.confirm)} to confirm on; "
                f"the smallest detectable difference is about {least:.0%}; {finished} of {trials} trials finished"
            )
        with WorkerProcesses(workers - 1):
            run_worker(study, task, lambda: log(study, None))
        if is_helper():
            return {}
        with study.locked("confirm"):
            written.check_feasible(study)
            report = confirm_judge(study, task)
        log(study, report)
        return report
    finally:
        task.close()


def confirm_judge(study: Study, task: JudgeTask) -> dict[str, Any]:
    """Let the winner and the current parameters judge the other half, test the difference, and write the report.

    p is multiplied by the number of looks at that half, those of other studies included.
    """
    records = study.records()
    now, best = written.incumbent(records, task), written.ranked(records, task)[0]
    chosen = [one["number"] for one in ((best,) if now is None or now is best else (best, now))]
    half = marks(task.asked_and_answered(place) for place in task.confirm)
    if (report := written.confirmed_already(study, study.paths, chosen, half)) is not None:
        return report
    logger.info(f"confirming trial {best['number']}: {values_line(best['params'])}")
    other = None if now is None or now is best else _confirmed(task, now)
    own = _confirmed(task, best)
    rows = [_row(task, best, own)] + (
        [_row(task, now, other)] if now is not None and other is not None else []
    )
    looks = note_look(study.paths, study.name, half, chosen)
    against = _against(task, own, other, looks) if other is not None else None
    found = {
        "labelled": task.file.name,
        "pairs": {"tune": len(task.tune), "confirm": len(task.confirm)},
        "limits": task.limits._asdict(),
        "confirmed": rows,
        "against_current": against,
        "optimism": best["shown"]["agreement"]["mean"] - rows[0]["agreement"]["mean"],
        "half": values_digest(half),
        "looks": looks,
        "winner": best["number"],
        "winner_params": best["params"],
    }
    return written.write_report(study, study.paths, found)


def _confirmed(task: JudgeTask, one: Record) -> Judgement:
    return task.judge(override(task.params, one["params"]), task.confirm)


def _row(task: JudgeTask, one: Record, done: Judgement) -> dict[str, Any]:
    return {"trial": one["number"], **task.figures(done)}


def _against(task: JudgeTask, own: Judgement, other: Judgement, looks: int) -> dict[str, Any]:
    places = sorted(own.hits)
    differences = [own.hits[p] - other.hits[p] for p in places]
    clusters = by_cluster(differences, [task.labelled.clusters[p] for p in places])
    scale = len(clusters) / len(places)  # converts sums of clusters to shares of pairs
    found = estimate([c * scale for c in clusters], task.seed)
    p = paired_test(clusters, task.seed)
    return {
        **found._asdict(),
        "better": sum(d > 0 for d in differences),
        "worse": sum(d < 0 for d in differences),
        "p": corrected(p, looks),
        "p_of_one_look": p,
        "detectable": detectable(deviation([c * scale for c in clusters]), len(clusters)),
    }


def judge_table(report: Mapping[str, Any]) -> str:
    """Return a sweep's trials and its confirmation as text."""
    paths = [dimension["path"] for dimension in report["space"]]
    head = ["trial", *(path.rsplit(".", 1)[-1] for path in paths)]
    rows = [[*head, "agreement", "detectable", "flips", "ties", "unscored", "first", "tokens", "s", ""]]
    for one in report["trials"]:
        notes = [one["given_up"]] * bool(one["given_up"])
        notes += ["current"] * (one["number"] == report["incumbent"])
        notes += ["best"] * (one["number"] == report["best"])
        broken = [name for name, value in one["constraints"].items() if value > 0]
        notes += [f"breaks {', '.join(broken)}"] * bool(broken and not one["given_up"])
        cells = [written.shown_value(one["params"][path]) for path in paths]
        rows.append(
            [str(one["number"]), *cells, *_cells(one["shown"]), f"{one['seconds']:.0f}", "; ".join(notes)]
        )
    pairs = report["pairs"]
    lines = [
        f"{report['study']}: {report['subject']} on {report['labelled']}, tuned on {pairs['tune']} pairs",
        written.trials_table(rows),
        "",
        f"confirmed on {pairs['confirm']} other pairs:",
    ]
    for row in report["confirmed"]:
        share = _share(row["agreement"])
        lines.append(
            f"  trial {row['trial']}: agreement {share}, flips {row['flips']:.0%}, unscored {row['unscored']:.0%}"
        )
    against = report["against_current"]
    if against is None:
        lines.append("the current parameters are the best found")
    else:
        lines.append(
            f"  winner minus current parameters: {written.gain_interval(against, 100, 1)} points, "
            f"{against['better']} pairs better, {against['worse']} worse, p {against['p']:.3f}; "
            f"smallest detectable difference {against['detectable']:.0%}"
        )
    lines.append(looks_line(report))
    lines.append(f"the winner's agreement on the half that selected it was {report['optimism']:+.1%} higher")
    return "\n".join(lines)


def _cells(shown: Mapping[str, Any]) -> list[str]:
    if not shown:
        return ["-"] * 7
    shares = [shown["flips"], shown["ties"], shown["unscored"], shown["first_position"]]
    return [
        _share(shown["agreement"]),
        f"{shown['detectable']:.0%}",
        *("-" if share is None else f"{share:.0%}" for share in shares),
        f"{shown['tokens']:.0f}",
    ]


def _share(found: Mapping[str, Any]) -> str:
    return f"{found['mean']:.1%} [{found['lower']:.0%}, {found['upper']:.0%}]"
