"""Writing a winner into params.yaml."""

from __future__ import annotations

import pytest

from arena_learning.core.errors import ArenaError
from arena_learning.core.json_files import write_json
from arena_learning.params import load_params
from arena_learning.sweep.apply import apply_winner

TEXT = """# keep me
seed: 3
weights: {source: models/base}   # where it comes from
pool: {splits: {d1: 12}, test: 1}
opponents:
  expert: {engine: recorded, model: expert.jsonl}
judges:
  rubric: {kind: rubric, points: all}
train:
  dpo:
    learning_rate: 3.0e-5   # chosen on validation
    beta: 0.1
rounds:
  dpo-i1: {index: 0, method: dpo, split: d1, target: base, init: base, threshold: 2.0, adds_to: none, labels: none}
"""
WINNER = {
    "train.dpo.learning_rate": 7.5e-6,
    "rounds.dpo-i1.threshold": 3.0,
    "dataset.opponents": ["expert"],
    "train.dpo.beta": 0.1,
}


@pytest.fixture
def found(files):
    """A project with comments in its parameters, and a function that writes a sweep's report."""
    _, paths = files
    paths.params.write_text(TEXT, encoding="utf-8")

    def write(mean=0.4, lower=0.1, name="selection-dpo-i1-aaaa-bbbb"):
        against = {"mean": mean, "lower": lower, "upper": 1.0}
        trials = [{"number": 0, "params": {"train.dpo.beta": 0.1}}, {"number": 4, "params": WINNER}]
        report = {"study": name, "kind": "selection", "winner": 4, "incumbent": 0, "trials": trials}
        report["confirmed"] = [
            {"trial": 4, "against_current": against},
            {"trial": 0, "against_current": None},
        ]
        write_json(paths.sweep_report(name), report)

    write()
    return paths, write


def test_only_what_differs_changes_and_comments_stay(found):
    paths, _ = found
    done = apply_winner("selection-dpo", paths)
    text = paths.params.read_text(encoding="utf-8")
    assert [
        line for line in done.diff.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")
    ] == [
        "-    learning_rate: 3.0e-5   # chosen on validation",
        "+    learning_rate: 7.5e-06  # chosen on validation",
        "-  dpo-i1: {index: 0, method: dpo, split: d1, target: base, init: base, threshold: 2.0, adds_to: none, labels: none}",
        "+  dpo-i1: {index: 0, method: dpo, split: d1, target: base, init: base, threshold: 3.0, adds_to: none, labels: none}",
        "+dataset:",
        "+  opponents: [expert]",
    ]
    assert text.startswith("# keep me\nseed: 3\nweights: {source: models/base}   # where it comes from\n")
    params = load_params(paths.params)
    assert params.train.dpo.learning_rate == 7.5e-6
    assert params.dataset.opponents == ("expert",)
    assert apply_winner("selection-dpo", paths).diff == ""


def test_a_new_key_stands_above_the_comment_on_the_next_section(found):
    paths, _ = found
    dataset = "dataset:\n  pairs: all\n\n# how it is trained\ntrain:"
    paths.params.write_text(TEXT.replace("train:", dataset), encoding="utf-8")
    apply_winner("selection-dpo", paths)
    text = paths.params.read_text(encoding="utf-8")
    assert "dataset:\n  opponents: [expert]\n  pairs: all\n\n# how it is trained\ntrain:" in text


def test_a_dry_run_writes_nothing(found):
    paths, _ = found
    assert "threshold: 3.0" in apply_winner("selection-dpo", paths, write=False).diff
    assert paths.params.read_text(encoding="utf-8") == TEXT


def test_a_winner_that_the_other_half_did_not_find_better_needs_force(found):
    paths, write = found
    write(mean=-0.1)
    with pytest.raises(ArenaError, match="no better than the current parameters"):
        apply_winner("selection-dpo", paths)
    assert paths.params.read_text(encoding="utf-8") == TEXT
    assert apply_winner("selection-dpo", paths, force=True).diff


def test_a_winner_that_cannot_be_told_apart_is_written_with_a_warning(found):
    paths, write = found
    write(lower=-0.2)
    assert (
        "the difference to the current parameters is not significant"
        in apply_winner("selection-dpo", paths).warnings[0]
    )


@pytest.mark.parametrize(
    ("changes", "warnings"),
    [
        ({}, ["it was not confirmed on the other half"]),
        ({"given_up": "clearly worse than the best"}, ["no candidate: clearly worse", "not confirmed"]),
        ({"constraints": {"flips": 0.2, "unscored": -0.1}}, ["breaks the limit on flips", "not confirmed"]),
    ],
)
def test_another_trial_than_a_judges_winner_does_not_borrow_the_winners_test(found, changes, warnings):
    paths, _ = found
    trials = [{"number": n, "params": {"judges.rubric.tie_margin": n / 2}} for n in range(3)]
    trials[2] |= changes
    against = {"mean": 0.2, "lower": 0.1, "upper": 0.3}
    report = {"study": "judge-rubric-a", "kind": "judge", "winner": 1, "incumbent": 0, "trials": trials}
    write_json(paths.sweep_report("judge-rubric-a"), {**report, "against_current": against})
    assert apply_winner("judge-rubric-a", paths, write=False).warnings == []
    said = apply_winner("judge-rubric-a", paths, trial=2, write=False).warnings
    assert len(said) == len(warnings)
    assert all(part in line for part, line in zip(warnings, said, strict=True))


def test_names_that_fit_none_or_several_are_errors(found):
    paths, write = found
    write(name="selection-dpo-i1-aaaa-cccc")
    with pytest.raises(ArenaError, match="several sweeps"):
        apply_winner("selection", paths)
    with pytest.raises(ArenaError, match="no finished sweep"):
        apply_winner("judge", paths)
    with pytest.raises(ArenaError, match="no finished trial 9"):
        apply_winner("selection-dpo-i1-aaaa-bbbb", paths, trial=9)
