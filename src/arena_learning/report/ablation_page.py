"""The page and the tables of an ablation: what each arm gained over the start, and how arms differ."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from arena_learning.core import write_text
from arena_learning.report.html import render_template
from arena_learning.report.phrases import ABSENT, elo, format_number, percent, plural

_FACTORS = {
    "selection": "how the rows are chosen",
    "threshold": "the threshold K",
    "opponents": "the opponents in the battles",
    "mode": "who battles whom",
}
_BASIS = {
    "teacher": "its scores chose training rows",
    "alike": "it judges by the same as a judge that chose training rows",
    "independent": "it had no part in the training",
}


class AblationTables(NamedTuple):
    """An ablation as cells of text.

    Attributes:
        title: what was compared, on what.
        arms: column heads and rows, a row an arm.
        differences: column heads and rows, a row for each comparison under each judge.
        notes: sentences on how to read it.
    """

    title: str
    arms: tuple[list[str], list[list[str]]]
    differences: tuple[list[str], list[list[str]]]
    notes: list[str]


def ablation_tables(report: Mapping[str, Any]) -> AblationTables:
    """Return the tables of an ablation's report (`reports/ablations/NAME.json`)."""
    judges = report["judges"]
    head = ["arm", "rows", "shared", *(f"by {judge}" for judge in judges), f"Elo by {judges[0]}"]
    head += ["wins", "single seeds", "words", "cut off", "seconds"]
    return AblationTables(
        f"{report['name']}: {_FACTORS[report['factor']]} in {report['round']} ({report['method']}), "
        f"{plural(report['instructions'], 'validation instruction')}, {plural(len(report['seeds']), 'seed')}",
        (head, [_arm_row(arm, judges) for arm in report["arms"]]),
        (
            ["arm", "against", "judge", "difference", "p", "p (Holm)", "could be told", "needed"],
            [_difference_row(row) for row in report["differences"]],
        ),
        _notes(report),
    )


def make_ablation_page(report: Mapping[str, Any], figure: Path, path: Path) -> Path:
    """Write an ablation's page, with its figure in it, and return its path."""
    tables = ablation_tables(report)
    data = base64.b64encode(figure.read_bytes()).decode("ascii")
    context = {
        "name": report["name"],
        "title": tables.title,
        "arms": tables.arms,
        "differences": tables.differences,
        "notes": tables.notes,
        "figure": f"data:image/png;base64,{data}",
        "values": [(arm["name"], _values(arm), arm["left_out"]) for arm in report["arms"]],
    }
    write_text(path, render_template("ablation.html.jinja", context))
    return path


def _arm_row(arm: Mapping[str, Any], judges: Sequence[str]) -> list[str]:
    rows = sorted(set(arm["rows"]))
    counted = str(rows[0]) if len(rows) == 1 else f"{rows[0]} to {rows[-1]}"
    shared = percent(arm["shared"]) if arm["shared"] is not None else ABSENT
    if not arm["judges"]:
        return [
            arm["name"],
            counted,
            shared,
            f"not trained: {arm['given_up'][0]}",
            *[ABSENT] * (len(judges) + 5),
        ]
    first, answers = arm["judges"][judges[0]], arm["answers"]
    rating = first["elo"]
    return [
        arm["name"],
        counted,
        shared,
        *(_interval(arm["judges"][judge]) for judge in judges),
        _elo_interval(rating) if rating else ABSENT,
        percent(first["win_rate"]),
        " ".join(f"{mean:+.2f}" for mean in first["by_seed"]),
        format_number(answers.get("mean_words"), 0),
        format_number(answers.get("cut_off"), 1),
        format_number(fmean(arm["seconds"]), 0),
    ]


def _difference_row(row: Mapping[str, Any]) -> list[str]:
    return [
        row["arm"],
        row["against"],
        row["judge"],
        _interval(row),
        f"{row['p']:.3f}",
        f"{row['p_holm']:.3f}",
        format_number(row["detectable"], 2),
        str(row["needed"] or ABSENT),
    ]


def _notes(report: Mapping[str, Any]) -> list[str]:
    said = ", ".join(f"{judge} ({_BASIS[report['independence'][judge]]})" for judge in report["judges"])
    notes = [
        f"Gains are mean paired differences of scores (1 to 10) to {report['start']}, with 95 % intervals over "
        "instructions; an instruction counts once, averaged over the seeds. Single seeds: how trainings differ.",
        f"Judges: {said}.",
        "shared: share of the arm's instructions that the arm it is compared with learns from, too. Elo and wins: "
        f"over {report['start']}.",
        "p (Holm): for all comparisons under the judge"
        + (f", times {report['looks']} looks at these instructions. " if report["looks"] > 1 else ". ")
        + "could be told: the least difference that these instructions bring below a p (Holm) of 0.05 with 80 % "
        "power, were it the clearest of all; needed: as many instructions would do so with the one seen.",
    ]
    notes += [f"{arm['name']}: {reason}" for arm in report["arms"] for reason in arm["given_up"]]
    wanted, earlier = report["rows"], report.get("rows_earlier", 0)
    if earlier:
        notes.append(f"rows: {earlier} of each arm are those of the round that this one adds to.")
    notes += [
        f"{arm['name']} has fewer new rows than the {wanted} that were asked for."
        for arm in report["arms"]
        if wanted and min(arm["rows"]) < wanted + earlier
    ]
    return notes


def _values(arm: Mapping[str, Any]) -> str:
    said = [f"{path} = {value}" for path, value in arm["values"].items()]
    return ", ".join([*said, *([f"battle.mode = {arm['mode']}"] if arm["mode"] else [])])


def _interval(own: Mapping[str, Any]) -> str:
    if own["lower"] is None or own["upper"] is None:
        return f"{own['mean']:+.2f}"
    return f"{own['mean']:+.2f} [{own['lower']:+.2f}, {own['upper']:+.2f}]"


def _elo_interval(rating: Mapping[str, Any]) -> str:
    if None in rating.values():
        return ABSENT
    return f"{elo(rating['difference'])} [{elo(rating['lower'])}, {elo(rating['upper'])}]"
