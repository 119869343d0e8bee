"""A sweep's figures: its history, the importance of each parameter, and the trade-off of two objectives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arena_learning.report import BLUE, GREY, ORANGE, STYLE, new_figure
from arena_learning.sweep.space import encode

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEWEST = 4  # fewest trials for which importances are computed


def importance(report: Mapping[str, Any], seed: int) -> dict[str, float]:
    """Return the share of the first objective's variance over the trials that each key explains (fANOVA).

    Empty for fewer than `FEWEST` trials with a value. For a handful of trials it is only a hint.
    """
    import optuna
    from optuna.distributions import CategoricalDistribution, FloatDistribution
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    own = [t for t in report["trials"] if t["values"]]
    if len(own) < FEWEST or len({t["values"][0] for t in own}) < 2:
        return {}
    study = optuna.create_study(direction="maximize")
    spread: dict[str, Any] = {}
    for dimension in report["space"]:
        path = dimension["path"]
        met = {encode(t["params"][path]) for t in own}
        if len(met) < 2:
            continue
        if "choices" in dimension:
            spread[path] = CategoricalDistribution([encode(c) for c in dimension["choices"]])
        else:
            spread[path] = FloatDistribution(dimension["low"], dimension["high"], log=dimension["log"])
    for trial in own:
        values = {path: encode(trial["params"][path]) for path in spread}
        study.add_trial(
            optuna.trial.create_trial(params=values, distributions=spread, values=[trial["values"][0]])
        )
    if not spread:
        return {}
    found = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=seed))
    return {path: float(share) for path, share in found.items()}


def draw_study(report: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw a sweep's figures into ``folder`` and return their files."""
    from matplotlib import style

    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, width, make in (
        ("history", 7.0, _history),
        ("importance", 6.4, _importance),
        ("pareto", 5.0, _pareto),
    ):
        path = folder / f"{name}.png"
        path.unlink(missing_ok=True)
        with style.context(["default", STYLE]):
            figure = new_figure(width, 3.4)
            if make(figure.add_subplot(), report):
                figure.savefig(path, dpi=130, metadata={"Software": None})
                drawn.append(path)
    return drawn


def _history(axes: Axes, report: Mapping[str, Any]) -> bool:
    """Draw the objective by trial, with its interval, and the best so far; pruned trials are at the bottom."""
    objective = report["objectives"][0]
    sign = -1 if objective.startswith("-") else 1
    valued = [t for t in report["trials"] if t["values"]]
    if not valued:
        return False
    best, line = None, []
    for trial in valued:
        x, y = trial["number"], trial["values"][0]
        low, high = _interval_of(trial, report)
        colour = BLUE if trial["feasible"] else GREY
        bars = [[max(0.0, y - low)], [max(0.0, high - y)]]
        axes.errorbar([x], [y], yerr=bars, fmt="o", color=colour, capsize=2, lw=1, ms=5)
        if trial["feasible"] and (best is None or sign * y > sign * best):
            best = y
        line.append((x, best))
    held = [(x, y) for x, y in line if y is not None]
    if held:
        axes.step(
            [x for x, _ in held],
            [y for _, y in held],
            where="post",
            color=ORANGE,
            lw=1.2,
            label="best so far",
        )
        axes.legend(frameon=False, fontsize=8)
    floor = min(_interval_of(t, report)[0] for t in valued)
    pruned = [t["number"] for t in report["trials"] if not t["values"]]
    axes.plot(pruned, [floor] * len(pruned), "x", color=GREY)
    axes.set(xlabel="trial (x: pruned; grey: breaks a limit)", ylabel=_name(objective, report))
    axes.set_xticks([t["number"] for t in report["trials"]][:: max(1, len(report["trials"]) // 20)])
    return True


def _interval_of(trial: Mapping[str, Any], report: Mapping[str, Any]) -> tuple[float, float]:
    value, shown = trial["values"][0], trial["shown"]
    first = report["objectives"][0]
    found = shown.get("estimates", {}).get(first) or (
        shown.get("agreement") if first == "agreement" else None
    )
    return (found["lower"], found["upper"]) if found else (value, value)


def _importance(axes: Axes, report: Mapping[str, Any]) -> bool:
    found = dict(reversed(report.get("importance", {}).items()))
    if not found:
        return False
    axes.barh(list(found), list(found.values()), color=BLUE, height=0.6)
    tried = sum(bool(t["values"]) for t in report["trials"])
    axes.set(xlabel=f"share of the variance explained (fANOVA of {tried} trials)", xlim=(0, 1))
    axes.tick_params(axis="y", labelsize=8)
    return True


def _pareto(axes: Axes, report: Mapping[str, Any]) -> bool:
    if len(report["objectives"]) < 2:
        return False
    own = [t for t in report["trials"] if t["values"]]
    front = sorted((t["values"][1], t["values"][0]) for t in own if t["number"] in report["pareto"])
    for trial in own:
        colour = BLUE if trial["feasible"] else GREY
        axes.plot(trial["values"][1], trial["values"][0], "o", color=colour, ms=5)
        axes.annotate(
            str(trial["number"]),
            (trial["values"][1], trial["values"][0]),
            fontsize=7,
            xytext=(3, 3),
            textcoords="offset points",
        )
    axes.plot([x for x, _ in front], [y for _, y in front], color=ORANGE, lw=1.2)
    names = report["objectives"]
    axes.set(xlabel=_name(names[1], report), ylabel=_name(names[0], report))
    return True


def _name(objective: str, report: Mapping[str, Any]) -> str:
    if report["kind"] == "selection":
        return f"gain over the start by {objective}"
    return {"agreement": "agreement with the labels", "-tokens": "tokens a game", "-flips": "flip rate"}[
        objective
    ]
