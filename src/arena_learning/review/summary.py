"""How far reviewers agree with each other and with the judges, from the files of verdicts; nothing is judged."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from arena_learning.core import ArenaError, Paths, Table, table_text
from arena_learning.judge.audit import OUTCOME, OUTCOMES, compare_outcomes, with_interval
from arena_learning.judge.audit import Table as Counts
from arena_learning.params import Params
from arena_learning.report import ARENA
from arena_learning.review.battles import ReviewBattle, read_review_battles
from arena_learning.review.session import read_reviews
from arena_learning.schema import Review, ReviewWinner

_COUNTS: dict[str, ReviewWinner | None] = {
    "answer_1": "model_a",
    "answer_2": "model_b",
    "tie": "tie",
    "both_bad": "both_bad",
    "skipped": None,
}


def review_summary(params: Params, paths: Paths) -> dict[str, Any]:
    """Return how the reviewers agree with each other and with the judges that scored the same answers.

    A tie and "both bad" are the same outcome here. Intervals are 95 % and resample instructions.

    Returns:
        ``reviewers`` (counts of each one's verdicts), ``pairs`` (two reviewers each, `compare_outcomes`), ``alpha``
        (Krippendorff's, over all reviewers, with its number of ``battles``; None for one reviewer), ``judges``
        (`compare_outcomes` with a reviewer, by the sampling of the battles), ``outdated`` (number of verdicts on
        answers that are others now, which are not compared with the judges).

    Raises:
        ArenaError: there are no verdicts, or a file is malformed.
    """
    rows = read_reviews(paths)
    if not rows:
        raise ArenaError(
            "there are no verdicts yet",
            where=str(paths.reviews),
            hint="`arena review --reviewer NAME` asks for them",
        )
    given = [row for row in rows if row.winner is not None]
    by_reviewer: dict[str, list[Review]] = defaultdict(list)
    for row in given:
        by_reviewer[row.reviewer].append(row)
    known = _judged(given, params, paths)
    return {
        "reviewers": [_counts(name, rows) for name in sorted({row.reviewer for row in rows})],
        "pairs": [_between(a, b, by_reviewer, params.seed) for a, b in combinations(sorted(by_reviewer), 2)],
        "alpha": _alpha(given, params.seed) if len(by_reviewer) > 1 else None,
        "judges": [
            line
            for name in sorted(by_reviewer)
            for line in _with_judges(by_reviewer[name], known, params.seed)
        ],
        "outdated": sum(row.battle not in known for row in given),
    }


def krippendorff_alpha(coincidences: Counts) -> Counts:
    """Return Krippendorff's alpha for nominal values: 1 is full agreement, 0 that of chance.

    It takes any number of reviewers, not all of whom judged every battle (Krippendorff, Content Analysis, 2004,
    chapter 11).

    Args:
        coincidences: how often each two values stand together (`_coincidences`), shape (..., values, values).
    """
    number = coincidences.sum(axis=(-2, -1))
    by_value = coincidences.sum(axis=-1)
    observed = number - np.trace(coincidences, axis1=-2, axis2=-1)
    expected = number**2 - (by_value**2).sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(1 - (number - 1) * observed / expected)


def _coincidences(values: Sequence[str]) -> Counts:
    """Return the table of one battle: each two reviewers' values, over the number of the other reviewers."""
    counts = np.array([values.count(outcome) for outcome in OUTCOMES], dtype=np.float64)
    return np.asarray((np.outer(counts, counts) - np.diag(counts)) / (len(values) - 1))


def _alpha(rows: Sequence[Review], seed: int) -> dict[str, Any]:
    by_battle: dict[str, list[Review]] = defaultdict(list)
    for row in rows:
        by_battle[row.battle].append(row)
    shared = [own for own in by_battle.values() if len(own) > 1]
    tables: dict[str, Counts] = {}
    for own in shared:
        table, asked = _coincidences([_outcome(row) for row in own]), own[0].instruction_id
        tables[asked] = tables[asked] + table if asked in tables else table
    stacked = np.stack(list(tables.values())) if tables else np.zeros((0, 3, 3))
    return {"battles": len(shared), **with_interval(krippendorff_alpha, stacked, seed)}


def _judged(rows: Sequence[Review], params: Params, paths: Paths) -> dict[str, ReviewBattle]:
    """Return the battles of the places that the rows are about, by key."""
    places = {row.place for row in rows} & {ARENA, *params.rounds}
    return {b.key: b for place in sorted(places) for b in read_review_battles(place, params, paths)}


def _counts(name: str, rows: Sequence[Review]) -> dict[str, Any]:
    own = [row for row in rows if row.reviewer == name]
    said = Counter(row.winner for row in own)
    counts = {column: said[winner] for column, winner in _COUNTS.items()}
    return {"reviewer": name, **counts, "notes": sum(bool(row.note) for row in own)}


def _between(a: str, b: str, rows: Mapping[str, Sequence[Review]], seed: int) -> dict[str, Any]:
    other = {row.battle: row for row in rows[b]}
    shared = [(row, other[row.battle]) for row in rows[a] if row.battle in other]
    one, two = ([_outcome(both[side]) for both in shared] for side in (0, 1))
    asked = [row.instruction_id for row, _ in shared]
    return {"reviewers": [a, b], **compare_outcomes(one, two, asked, seed)}


def _with_judges(
    rows: Sequence[Review], known: Mapping[str, ReviewBattle], seed: int
) -> list[dict[str, Any]]:
    """Return a reviewer's agreement with each judge, by sampling."""
    held = [row for row in rows if row.battle in known]
    lines = []
    for sampling in sorted({row.sampling for row in held}):
        mine = [row for row in held if row.sampling == sampling]
        judges = sorted({judge for row in mine for judge in known[row.battle].outcomes})
        for judge in judges:
            both = [row for row in mine if judge in known[row.battle].outcomes]
            compared = compare_outcomes(
                [_outcome(row) for row in both],
                [known[row.battle].outcomes[judge] for row in both],
                [row.instruction_id for row in both],
                seed,
            )
            lines.append({"reviewer": rows[0].reviewer, "sampling": sampling, "judge": judge, **compared})
    return lines


def _outcome(row: Review) -> str:
    """Return the outcome with the contestants in alphabetical order, as judges' battles have it."""
    outcome = OUTCOME[row.winner or ""]
    turned = row.model_a > row.model_b
    return {"a": "b", "b": "a"}.get(outcome, outcome) if turned else outcome


def summary_text(summary: Mapping[str, Any]) -> str:
    """Return the summary as tables."""
    head = ["reviewer", "answer 1", "answer 2", "ties", "both bad", "skipped", "notes"]
    parts = [Table(head, [[str(value) for value in line.values()] for line in summary["reviewers"]])]
    columns = ["verdicts", "agreement", "decided", "kappa"]
    if summary["pairs"]:
        rows = [[" and ".join(line["reviewers"]), *_cells(line)] for line in summary["pairs"]]
        parts.append(Table(["reviewers", *columns], rows))
    if summary["judges"]:
        rows = [
            [line["judge"], line["reviewer"], line["sampling"], *_cells(line)] for line in summary["judges"]
        ]
        left = ("judge", "reviewer", "sampling")
        parts.append(Table([*left, *columns], rows, left))
    lines = [table_text(part, rule=False) for part in parts]
    if alpha := summary["alpha"]:
        lines.append(
            f"Krippendorff's alpha of all reviewers: {_ratio(alpha)}, {alpha['battles']} battles of several"
        )
    if outdated := summary["outdated"]:
        lines.append(
            f"{outdated} verdicts are on answers that are others now; they are not compared with judges"
        )
    return "\n\n".join(lines)


def _cells(line: Mapping[str, Any]) -> list[str]:
    return [
        str(line["scored"]),
        _share(line["agreement"]),
        _share(line["agreement_decided"]),
        _ratio(line["kappa"]),
    ]


def _share(figure: Mapping[str, float | None]) -> str:
    if figure["value"] is None or figure["lower"] is None or figure["upper"] is None:
        return "-"
    return f"{figure['value']:.1%} ({figure['lower']:.0%}-{figure['upper']:.0%})"


def _ratio(figure: Mapping[str, float | None]) -> str:
    if figure["value"] is None or figure["lower"] is None or figure["upper"] is None:
        return "-"
    return f"{figure['value']:.2f} ({figure['lower']:.2f} to {figure['upper']:.2f})"
