"""A run for each judge and file of labelled pairs, from reports/audits alone, idempotent like the rest."""

from __future__ import annotations

import pytest
from test_tracking_runs import ALL, ids, runs

from arena_learning.core.json_files import read_json, write_json, write_text
from arena_learning.judge.audit.run import audit_judges
from arena_learning.tracking import track_project

LINE = '{{"id": "p{n}", "instruction": "Q{n}", "response_a": "{a}", "response_b": "x", "label": "model_a", "source": "s{s}"}}\n'
TITLES = ["audit labels: longer", "audit labels: short"]


@pytest.fixture
def audited(project):
    """A project with an audit of two judges: six pairs, of which the longer answer is right in five."""
    params, paths = project
    judges = {**params.judges, "short": params.judges["rubric"].model_copy(update={"kind": "longer"})}
    params = params.model_copy(update={"judges": judges})
    lines = [LINE.format(n=n, a="one two" if n else "", s=n % 2) for n in range(6)]
    write_text(paths.root / "labels.jsonl", "".join(lines))
    audit_judges(paths.root / "labels.jsonl", ["short"], params, paths)
    return params, paths


def test_an_audit_is_a_run_a_judge_with_its_figures_and_table(audited):
    params, paths = audited
    report = track_project(params, paths)
    assert sorted(report.logged) == sorted([*ALL, *TITLES])
    run = runs(paths)["audit labels: longer"]
    assert run.data.metrics["audit/agreement"] == pytest.approx(5 / 6)
    assert run.data.metrics["audit/agreement_lower"] < 5 / 6
    assert run.data.metrics["audit/pairs"] == 6
    assert run.data.metrics["audit/flip_rate"] == 0
    assert run.data.params["audit.judge_label"] == "longer v1"
    assert run.data.tags["arena.kind"] == "audit"
    assert "agreement 83.3%" in run.data.tags["mlflow.note.content"]
    assert "mlflow.parentRunId" not in run.data.tags


def test_audits_are_left_alone_superseded_removed_and_rebuilt_like_rounds(audited):
    params, paths = audited
    track_project(params, paths)
    before = ids(paths)
    again = track_project(params, paths)
    assert (again.logged, ids(paths)) == ([], before)
    report = read_json(paths.audit("labels"))
    report["judges"]["short"]["all"]["flip_rate"] = 0.5
    report["judges"].pop("longer")
    write_json(paths.audit("labels"), report)
    changed = track_project(params, paths)
    assert (changed.logged, changed.removed) == (["audit labels: short"], ["audit labels: longer"])
    assert runs(paths)["audit labels: short"].data.metrics["audit/flip_rate"] == 0.5
    rebuilt = track_project(params, paths, rebuild=True)
    assert "audit labels: short" in rebuilt.logged
    paths.audit("labels").unlink()
    assert track_project(params, paths).removed == ["audit labels: short"]


def test_other_parameters_make_another_flywheel_and_the_same_audits(audited):
    params, paths = audited
    track_project(params, paths)
    other = track_project(params.model_copy(update={"seed": params.seed + 1}), paths)
    assert sorted(other.unchanged) == TITLES
    assert "flywheel" in other.logged


def test_a_malformed_audit_leaves_the_store_as_it_was(audited):
    params, paths = audited
    write_text(paths.audit("broken"), "{")
    report = track_project(params, paths)
    assert report.failed
    assert runs(paths) == {}
    assert "broken.json" in report.warnings[0]
