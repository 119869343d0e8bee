"""The command on bad input: a message, exit code 2, and not a file more than before."""

from __future__ import annotations

import sys

import pytest
import yaml

from arena_learning.cli.main import main

MARGIN = "judges.longer.tie_margin=[0.0, 0.5]"


@pytest.fixture
def arena(files, tmp_path, write_pairs, monkeypatch, capsys):
    """Run the command in the project; returns its exit code and what it says."""
    _, paths = files
    raw = yaml.safe_load(paths.params.read_text(encoding="utf-8"))
    raw["judges"]["big"] = {"kind": "llm", "engine": "transformers", "model": "models/base"}
    paths.params.write_text(yaml.safe_dump(raw), encoding="utf-8")
    for name, count, label in (
        ("good", 40, None),
        ("empty", 0, None),
        ("one", 40, "model_b"),
        ("few", 8, None),
    ):
        write_pairs(tmp_path / f"{name}.jsonl", count, label)
    (tmp_path / "malformed.jsonl").write_text('{"id": "p1", "label": "model_a"}\n', encoding="utf-8")
    monkeypatch.chdir(paths.root)

    def run(*arguments):
        named = [str(tmp_path / a) if a.endswith(".jsonl") else a for a in arguments]
        monkeypatch.setattr(sys, "argv", ["arena", "sweep", *named])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, capsys.readouterr().err

    run.paths = paths
    return run


def tree(paths):
    return {path: path.read_bytes() for path in paths.root.rglob("*") if path.is_file()}


def judge(name, labelled, *vary):
    varied = [part for one in vary for part in ("--vary", one)]
    return ["judge", name, "--labelled", labelled, "--no-track", *varied]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (judge("big", "good.jsonl", "judges.big.template=[pairwise-scor]"), "no template 'pairwise-scor'"),
        (judge("longer", "empty.jsonl", MARGIN), "no labelled pairs"),
        (judge("longer", "one.jsonl", MARGIN), "all labels are 'model_b'"),
        (judge("longer", "few.jsonl", MARGIN), "needs 10"),
        (judge("longer", "malformed.jsonl", MARGIN), "malformed.jsonl, line 1"),
        (judge("longer", "absent.jsonl", MARGIN), "absent.jsonl"),
        (judge("longr", "good.jsonl", MARGIN), "hint: did you mean 'longer'?"),
        (judge("longer", "good.jsonl", "judges.longer.tie_margn=[0.5]"), "no such key"),
        (judge("longer", "good.jsonl", "judges.longer.tie_margin=[-1.0]"), "tie_margin"),
        (judge("longer", "good.jsonl", "judges.longer.tie_margin"), "is not PATH=VALUES"),
        (judge("longer", "good.jsonl", "judges.rubric.points=[content]"), "has no effect"),
        ([*judge("longer", "good.jsonl", MARGIN), "--objective", "agrement"], "no objective 'agrement'"),
        ([*judge("longer", "good.jsonl", MARGIN), "--workers", "0"], "--workers"),
        ([*judge("longer", "good.jsonl", MARGIN), "--trials", "0"], "--trials"),
        ([*judge("longer", "good.jsonl", MARGIN), "--storage", "nonsense://x"], "database cannot be opened"),
        (["selection", "dpo-i9", "--no-track"], "dpo-i9"),
        (["selection", "dpo-i1", "--no-track"], "the start 'base' is not trained yet"),
        (["show", "judge"], "no finished sweep 'judge'"),
        (["apply", "judge"], "no finished sweep 'judge'"),
    ],
)
def test_bad_input_is_told_and_nothing_is_written(arena, arguments, message):
    before = tree(arena.paths)
    code, said = arena(*arguments)
    assert code == 2
    assert message in said
    assert "Traceback" not in said
    assert tree(arena.paths) == before


def test_where_no_trial_is_feasible_the_trials_are_kept_and_nothing_else_is_written(arena):
    before = arena.paths.params.read_bytes()
    code, said = arena(*judge("longer", "good.jsonl", MARGIN), "--trials", "2", "--max-unscored", "-0.1")
    assert code == 2
    assert "none of 2 trials is feasible (unscored: at least 0.10 beyond the limit" in said
    assert "loosen the limits" in said
    assert not arena.paths.reports.exists()
    assert arena.paths.sweep_journal.is_file()
    assert arena.paths.params.read_bytes() == before
