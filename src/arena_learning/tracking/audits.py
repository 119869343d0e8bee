"""Audits of judges as MLflow runs: one for each judge and file of labelled pairs, made from reports/audits."""

from __future__ import annotations

from pathlib import Path

from arena_learning.core import Paths, redacted
from arena_learning.judge.audit import flat_figures
from arena_learning.leaderboard import Document, mapping_at, number_at, read_document
from arena_learning.tracking.metric_names import slug
from arena_learning.tracking.run_view import AttachedFile, MetricPoint, RunView, TableArtifact, md5

AUDITS = "audits"  # the scope of their runs, which does not depend on the current params.yaml
_COLUMNS = ("agreement", "agreement_decided", "kappa")
_RATES = ("tie_rate", "flip_rate", "first_position_share", "longer_wins", "unscored_rate", "tokens_per_game")


def audit_views(paths: Paths) -> list[RunView]:
    """Return a run for each judge of each report.

    Raises:
        ArenaError: a report is malformed.
    """
    files = sorted(paths.audits.glob("*.json")) if paths.audits.is_dir() else []
    return [
        _view(path, report, judge)
        for path, report in ((path, read_document(path)) for path in files)
        for judge in mapping_at(report, "judges")
    ]


def _view(path: Path, report: Document, judge: str) -> RunView:
    own = mapping_at(report, "judges", judge)
    labelled = str(report.get("labelled", path.stem))
    figures = flat_figures(report, judge)
    games = 2 * figures.get("pairs", 0.0)
    return RunView(
        key=f"audit {labelled} {judge}",
        title=f"audit {labelled}: {judge}",
        params={
            "audit.labelled": labelled,
            "audit.pairs_digest": str(report.get("digest", "")),
            "audit.judge": judge,
            "audit.judge_kind": str(own.get("kind", "")),
            "audit.judge_label": redacted(str(own.get("judge", ""))),
            **{f"audit.fitted_{key}": str(value) for key, value in mapping_at(own, "calibration").items()},
        },
        tags={
            "arena.kind": "audit",
            "arena.judge": judge,
            "mlflow.note.content": _note(judge, labelled, own),
        },
        points=tuple(MetricPoint(f"audit/{slug(name)}", value) for name, value in figures.items()),
        tables=tuple(_groups(own)),
        files=(AttachedFile(path, "", md5(path)),),
        seconds=figures.get("seconds_per_game", 0.0) * games,
        ended=path.stat().st_mtime,
    )


def _groups(own: Document) -> list[TableArtifact]:
    """Return the figures by source and by category as one table; none if there is only one of each."""
    rows = tuple(
        (
            kind,
            group,
            number_at(part, "pairs"),
            *(number_at(part, column, "value") for column in _COLUMNS),
            *(number_at(part, rate) for rate in _RATES),
        )
        for kind in ("sources", "categories")
        for group, part in mapping_at(own, kind).items()
    )
    return (
        [TableArtifact("tables/groups.json", ("by", "group", "pairs", *_COLUMNS, *_RATES), rows)]
        if rows
        else []
    )


def _note(judge: str, labelled: str, own: Document) -> str:
    value, lower, upper = (number_at(own, "all", "agreement", key) for key in ("value", "lower", "upper"))
    if value is None or lower is None or upper is None:
        return f"{judge} on {labelled}: no pair was scored."
    return f"{judge} on {labelled}: agreement {value:.1%} [{lower:.1%}, {upper:.1%}] of three outcomes."
