"""The forecast in words and as JSON, and the one that `arena repro` keeps, held against what the run took."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from arena_learning.core import ArenaError, Paths, Table, append_json, now_text, number_text, read_stage_runs
from arena_learning.params import Params
from arena_learning.project.forecast import Share, StageForecast, spent_in
from arena_learning.report import ledger_rows
from arena_learning.store import Spending, Store

_HEAD = (
    "stage",
    "who",
    "wanted",
    "there",
    "to make",
    "tokens in",
    "tokens out",
    "seconds",
    "money",
    "GPU h",
    "MB",
)
_LEFT = ("stage", "who")
_COMPARED = ("made", "tokens", "seconds", "money")


def forecast_dict(
    stages: Sequence[StageForecast], params: Params, spent: Mapping[str, float]
) -> dict[str, Any]:
    """Return a forecast as JSON values, with its sums and the budget; None is unknown.

    Args:
        stages: the forecast.
        params: the parameters with the budget.
        spent: the ``money`` and ``tokens`` that the project has spent so far.
    """
    shares = [share for stage in stages for share in stage.shares]
    total = {
        "stages": len(stages),
        "answers": sum(share.work.made for share in shares if share.work.role == "contestant"),
        "games": sum(share.work.made for share in shares if share.work.role == "judge"),
        "tokens_in": _known([share.tokens_in for share in shares]),
        "tokens_out": _known([share.tokens_out for share in shares]),
        "seconds": sum(stage.seconds or 0.0 for stage in stages),
        "stages_of_unknown_length": [stage.stage for stage in stages if stage.seconds is None],
        "money": _known([share.money for share in shares]),
        "gpu_hours": _known([stage.gpu_hours for stage in stages]),
        "disk_bytes": sum(stage.disk for stage in stages),
    }
    return {
        "stages": [_stage_dict(stage) for stage in stages],
        "total": total,
        "budget": _budget(total, params, spent),
    }


def _stage_dict(stage: StageForecast) -> dict[str, Any]:
    return {
        "stage": stage.stage,
        "certain": stage.certain,
        "seconds": stage.seconds,
        "gpu_hours": stage.gpu_hours,
        "disk_bytes": stage.disk,
        "shares": [_share_dict(share) for share in stage.shares],
    }


def _share_dict(share: Share) -> dict[str, Any]:
    work = share.work
    return {
        "role": work.role,
        "name": work.name,
        "wanted": work.wanted,
        "there": work.known,
        "to_make": work.made,
        "tokens_in": share.tokens_in,
        "tokens_out": share.tokens_out,
        "seconds": share.seconds,
        "money": share.money,
        "lengths": share.lengths,
        "note": work.note,
    }


def _budget(total: Mapping[str, Any], params: Params, spent: Mapping[str, float]) -> dict[str, Any]:
    """Return for each limit what is spent, what the forecast adds, and whether that fits (None: unknown)."""
    known = [total["tokens_in"], total["tokens_out"]]
    adds = {
        "money": total["money"],
        "tokens": None if None in known else sum(known),
        "hours": total["seconds"] / 3600,
    }
    found: dict[str, Any] = {}
    for what, more in adds.items():
        most = getattr(params.budget, what)
        if most is None:
            continue
        before = spent.get(what, 0.0)
        found[what] = {
            "most": most,
            "spent": before,
            "forecast": more,
            "fits": None if more is None else before + more <= most,
        }
    return found


def forecast_table(told: Mapping[str, Any]) -> Table:
    """Return a forecast's stages as a table, a row for each contestant, judge and training, and one for the sum."""
    rows = []
    for stage in told["stages"]:
        name = stage["stage"] if stage["certain"] else f"{stage['stage']} ?"
        ends = (_number(stage["seconds"]), _number(stage["gpu_hours"], 2), _number(stage["disk_bytes"] / 1e6))
        first = True
        for share in stage["shares"]:
            seconds, hours, disk = ends if first else ("", "", "")
            rows.append(
                [
                    name if first else "",
                    share["name"],
                    *(f"{share[key]:,}" for key in ("wanted", "there", "to_make")),
                    _number(share["tokens_in"]),
                    _number(share["tokens_out"]),
                    seconds,
                    _number(share["money"], 4),
                    hours,
                    disk,
                ]
            )
            first = False
        if first:
            rows.append([name, "", "", "", "", "", "", ends[0], "", *ends[1:]])
    total = told["total"]
    rows.append(
        [
            "together",
            "",
            "",
            "",
            "",
            _number(total["tokens_in"]),
            _number(total["tokens_out"]),
            _number(total["seconds"]),
            _number(total["money"], 4),
            _number(total["gpu_hours"], 2),
            _number(total["disk_bytes"] / 1e6),
        ]
    )
    return Table(_HEAD, rows, left=_LEFT)


def forecast_notes(told: Mapping[str, Any]) -> list[str]:
    """Return what a reader of the table must know: unknown figures, where lengths are from, bounds, the budget."""
    lines = []
    if any(not stage["certain"] for stage in told["stages"]):
        lines.append("stage ?: it runs only if what it reads changes")
    unknown = told["total"]["stages_of_unknown_length"]
    if unknown:
        lines.append(
            f"unknown time (`?`), not in the sum: {', '.join(unknown)}; give rates, such as --answer-rate"
        )
    sources: dict[str, list[str]] = {}
    for stage in told["stages"]:
        for share in stage["shares"]:
            if share["to_make"] and share["lengths"] not in ("", "its own", "recorded"):
                sources.setdefault(f"lengths are {share['lengths']}", []).append(share["name"])
            if share["note"]:
                sources.setdefault(share["note"], []).append(f"{share['name']} in {stage['stage']}")
    lines += [f"{', '.join(dict.fromkeys(names))}: {what}" for what, names in sources.items()]
    for what, one in told["budget"].items():
        fits = {True: "fits", False: "does not fit", None: "is unknown"}[one["fits"]]
        more = "?" if one["forecast"] is None else number_text(one["forecast"])
        most, spent = number_text(one["most"]), number_text(one["spent"])
        lines.append(f"budget.{what} {most}: {spent} spent, {more} more {fits}")
    return lines


def keep_forecast(told: Mapping[str, Any], paths: Paths) -> None:
    """Append the forecast of a run that begins now to the file of forecasts."""
    append_json(paths.plans, {"began": now_text(), **told})


def last_forecast(paths: Paths) -> dict[str, Any]:
    """Return the forecast that the last `arena repro` kept.

    Raises:
        ArenaError: there is none, or its line is damaged.
    """
    kept = paths.plans.read_text(encoding="utf-8").strip() if paths.plans.is_file() else ""
    if not kept:
        raise ArenaError(
            "no run has kept a plan", where=str(paths.plans), hint="start one with `arena repro`"
        )
    try:
        found: dict[str, Any] = json.loads(kept.rpartition("\n")[2])
        return found
    except ValueError:
        raise ArenaError(
            "its last line is damaged",
            where=str(paths.plans),
            hint="remove that line, or run `arena repro` again",
        ) from None


def against_run(params: Params, paths: Paths) -> dict[str, Any]:
    """Return the last kept forecast beside what its stages have taken since then.

    A stage that has not run since then, because nothing that it reads has changed or because the run was stopped, has
    taken nothing.

    Raises:
        ArenaError: no forecast was kept, or a file is malformed.
    """
    told = last_forecast(paths)
    runs = [run for run in read_stage_runs(paths) if run.ended >= told["began"]]
    spent: list[Spending] = []
    if paths.store.is_file():
        with Store(paths.store) as store:
            spent = [one for one in store.spending_rows() if one.began >= told["began"]]
    stages = [
        {
            "stage": stage["stage"],
            "ran": any(run.stage == stage["stage"] for run in runs),
            "planned": _figures(stage),
            "taken": {
                **_taken(spent_in(stage["stage"], spent), params),
                "seconds": sum(run.seconds for run in runs if run.stage == stage["stage"]),
            },
        }
        for stage in told["stages"]
    ]
    ran = [stage for stage in stages if stage["ran"]]
    sums = {
        side: {key: _known([stage[side][key] for stage in ran]) for key in _COMPARED}
        for side in ("planned", "taken")
    }
    return {"began": told["began"], "stages": stages, "total": sums}


def against_table(held: Mapping[str, Any]) -> Table:
    """Return plan and truth side by side, by stage; the sum is that of the stages that ran."""
    head = (
        "stage",
        *(f"{what}, {side}" for what in _COMPARED for side in ("plan", "run")),
    )
    rows = [
        [stage["stage"], *_pairs(stage["planned"], stage["taken"] if stage["ran"] else {})]
        for stage in held["stages"]
    ]
    rows.append(["together, what ran", *_pairs(held["total"]["planned"], held["total"]["taken"])])
    return Table(head, rows)


def _pairs(planned: Mapping[str, Any], taken: Mapping[str, Any]) -> list[str]:
    cells = []
    for what in _COMPARED:
        places = 4 if what == "money" else 0
        cells += [_number(planned[what], places), _number(taken[what], places) if taken else "-"]
    return cells


def _figures(stage: Mapping[str, Any]) -> dict[str, Any]:
    shares = stage["shares"]
    asked = [share for share in shares if share["role"] != "training"]
    parts = [share[key] for share in asked for key in ("tokens_in", "tokens_out")]
    return {
        "made": sum(share["to_make"] for share in asked),
        "tokens": _known(parts),
        "seconds": stage["seconds"],
        "money": _known([share["money"] for share in shares]),
    }


def _taken(spent: Sequence[Spending], params: Params) -> dict[str, Any]:
    rows = ledger_rows(spent, params)
    return {
        "made": sum(row.made for row in rows),
        "tokens": sum(row.tokens for row in rows),
        "money": _known([row.money for row in rows]),
    }


def _known(values: Sequence[float | None]) -> float | None:
    """Return the sum; None if a part of it is unknown."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _number(value: float | None, places: int = 0) -> str:
    return "?" if value is None else f"{value:,.{places}f}" if value else "-"
